"""What is asked of the cameras at present, as a page shows it: views, questions, tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snow_runtime.app.answers import WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_runtime.app.questions.question import Question
    from snow_runtime.app.questions.view import CameraView
    from snow_runtime.app.states.rules import StateRules
    from snow_runtime.multilabel import Labelling


@dataclass(frozen=True)
class QuestionNow:
    """A question of one camera, with the probabilities that its answers are held against.

    Attributes:
        asked: The question.
        answers: ``one`` or ``several``: how many labels may be right.
        least: Certainty below which an answer is unsure, in [0, 1]; None where none is.
        rules: When its state changes; None where none is kept.
    """

    asked: Question
    answers: Labelling
    least: float | None = None
    rules: StateRules | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        asked = self.asked
        found: dict[str, Any] = {
            "name": asked.name,
            "camera": asked.camera,
            "task": asked.task,
            "view": asked.view.name or WHOLE,
            "seconds": asked.seconds,
            "motion": asked.motion,
            "answers": self.answers,
            "least": self.least,
        }
        if self.rules is not None:
            found["upper"], found["lower"] = self.rules.upper, self.rules.lower
        return found


@dataclass(frozen=True)
class SetupNow:
    """All that is asked.

    Attributes:
        questions: Questions of all cameras.
        tasks: Names of the model's tasks, those too that nothing asks for.
        views: Views by camera, those too that nothing is asked about.
        chosen: Whether questions were chosen; else each task is asked about each frame.
    """

    questions: tuple[QuestionNow, ...] = ()
    tasks: tuple[str, ...] = ()
    views: Mapping[str, tuple[CameraView, ...]] = field(default_factory=dict)
    chosen: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "questions": [each.to_dict() for each in self.questions],
            "tasks": list(self.tasks),
            "views": {
                camera: [_drawn(view) for view in views] for camera, views in self.views.items()
            },
            "chosen": self.chosen,
        }


def _drawn(view: CameraView) -> dict[str, Any]:
    return {
        "name": view.name,
        "box": list(view.box),
        "polygon": None if view.polygon is None else [list(point) for point in view.polygon],
        "rotate": view.rotation,
    }
