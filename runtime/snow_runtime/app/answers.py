"""What the loop says about one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.app.states.event import states_to_dict
from snow_runtime.results import PRESENT

if TYPE_CHECKING:
    from collections.abc import Collection

    from snow_runtime.app.states.event import StateNow
    from snow_runtime.cameras import Frame
    from snow_runtime.results import Result, TaskResult, UnknownReason


WHOLE: Final = "whole"
"""How the view is called that is the whole picture."""
NONE_PRESENT: Final = "none"
"""What is said where several labels may be right and none is likely enough."""


@dataclass(frozen=True)
class TaskAnswer:
    """One task's answer.

    Attributes:
        label: The most probable one.
        probability: Probability of that label, in [0, 1].
        present: Where several labels may be right, those that are likely enough, with their
            probabilities, the most probable first; None where one is right.
        unknown: Why the answer should not be acted on: the picture is unlike those trained on, or
            the answer unsure; None where it may be.
    """

    label: str
    probability: float
    present: tuple[tuple[str, float], ...] | None = None
    unknown: UnknownReason | None = None

    @property
    def text(self) -> str:
        """What is answered, in words: the label, all that are present, or that it is unknown."""
        if self.unknown is not None:
            return f"unknown ({self.unknown})"
        if self.present is None:
            return self.label
        return ", ".join(label for label, _ in self.present) or NONE_PRESENT

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found: dict[str, Any] = _rounded(self.label, self.probability)
        if self.present is not None:
            found["present"] = [_rounded(*each) for each in self.present]
        if self.unknown is not None:
            found["unknown"] = self.unknown
        return found


@dataclass(frozen=True)
class FrameAnswer:
    """All answers about one frame.

    Attributes:
        camera: Its name.
        number: Number of the frame, as the camera counts.
        taken_at: Time when it was captured, in seconds since 1970 (UTC).
        age_ms: How old it was when the answers were there, in milliseconds.
        latency_ms: How long the model took, for the whole batch that the frame was in.
        tasks: Answers by task name, in the model's order; those below the least confidence are left
            out.
        states: States of the camera's questions after this frame; None where none are kept.
        views: Names of the views that were looked at, with their share of the batch's time in
            milliseconds; None where no questions are set.
    """

    camera: str
    number: int
    taken_at: float
    age_ms: float
    latency_ms: float
    tasks: dict[str, TaskAnswer]
    states: tuple[StateNow, ...] | None = None
    views: tuple[tuple[str, float], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found: dict[str, Any] = {
            "camera": self.camera,
            "frame": self.number,
            "time": round(self.taken_at, 3),
            "age_ms": round(self.age_ms, 1),
            "latency_ms": round(self.latency_ms, 2),
            "tasks": {name: said.to_dict() for name, said in self.tasks.items()},
        }
        if self.states is not None:
            found["states"] = states_to_dict(self.states)
        if self.views is not None:
            found["views"] = {name or WHOLE: {"share_ms": round(ms, 2)} for name, ms in self.views}
        return found


def answer_about(
    frame: Frame,
    result: Result,
    shown: Collection[str] | None,
    least: float,
    *,
    unknown: bool = True,
) -> FrameAnswer:
    """Put a result into words.

    Args:
        frame: What was looked at.
        result: What the model answered.
        shown: Names of the tasks that are wanted; None for all.
        least: Lowest probability of an answer that is kept. Of several labels none is present
            below it, nor below 0.5.
        unknown: Whether to say which answers should not be acted on.
    """
    tasks = {
        name: TaskAnswer(
            *(task.label, task.probability, _present(task, least)),
            task.unknown_because if unknown else None,
        )
        for name, task in result.items()
        if (shown is None or name in shown) and task.probability >= least
    }
    return FrameAnswer(
        frame.camera,
        frame.number,
        frame.captured_at.unix_s,
        frame.age_ms,
        result.latency_ms,
        tasks,
    )


def _present(task: TaskResult, least: float) -> tuple[tuple[str, float], ...] | None:
    return None if task.answers == "one" else tuple(task.present(max(PRESENT, least)))


def _rounded(label: str, probability: float) -> dict[str, Any]:
    return {"label": label, "probability": round(probability, 4)}
