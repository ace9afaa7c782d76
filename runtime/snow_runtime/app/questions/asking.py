"""Which questions are asked about which frames, and whose answer is which.

A view is one picture for the model, whatever the number of questions about it: all tasks answer
anyway. All views of the frames that wait together are one batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snow_runtime.app.questions.motion import Motion
from snow_runtime.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.app.questions.question import Question
    from snow_runtime.app.questions.view import CameraView
    from snow_runtime.cameras import Frame


@dataclass(frozen=True, eq=False)
class Look:
    """One view of one frame, and the questions about it.

    Attributes:
        frame: The frame.
        view: The view.
        questions: Questions that are asked.
    """

    frame: Frame
    view: CameraView
    questions: tuple[Question, ...]

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture to ask about, uint8 `[h, w, 3]`, blue first."""
        return self.view.cut(self.frame.image)

    @property
    def stale(self) -> bool:
        """Whether the frame is too old to be shown as the present."""
        return self.frame.stale


@dataclass
class _Turn:
    """When a question was asked last, and when something moved last, in monotonic seconds."""

    motion: Motion | None
    asked_s: float | None = None
    moved_s: float | None = None


class Questions:
    """Decides for each frame what is asked about it; one thread asks it.

    Args:
        questions: The questions, each with a name of its own within its camera.
    """

    def __init__(self, questions: Iterable[Question]) -> None:
        self._by_camera: dict[str, list[Question]] = {}
        for question in questions:
            self._by_camera.setdefault(question.camera, []).append(question)
        self._turns = {
            (each.camera, each.name): _Turn(None if each.motion is None else Motion(each.motion))
            for each in self.all
        }

    @property
    def all(self) -> tuple[Question, ...]:
        """The questions."""
        return tuple(each for asked in self._by_camera.values() for each in asked)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that are needed."""
        return tuple(dict.fromkeys(each.task for each in self.all))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the questions."""
        return tuple(dict.fromkeys(each.name for each in self.all))

    def looks(
        self, frames: Iterable[Frame], wanted: Callable[[str, str], bool] = lambda *_: True
    ) -> list[Look]:
        """Return what is looked at of frames, by frame and view in their order; maybe nothing.

        Args:
            frames: The frames.
            wanted: Function that tells by camera and name whether a question is asked at all.
        """
        found = []
        for frame in frames:
            due: dict[CameraView, list[Question]] = {}
            for question in self._by_camera.get(frame.camera, ()):
                if wanted(frame.camera, question.name) and self._is_due(question, frame):
                    due.setdefault(question.view, []).append(question)
            found += [Look(frame, view, tuple(asked)) for view, asked in due.items()]
        return found

    def missed(self, looks: Iterable[Look]) -> None:
        """Ask again what was not answered, at the next frame."""
        for look in looks:
            for question in look.questions:
                turn = self._turns.get((question.camera, question.name))
                if turn is not None:
                    turn.asked_s = None

    def idle(self, camera: str, asked: Iterable[str]) -> list[str]:
        """Return the names of a camera's questions that were not asked this time."""
        named = set(asked)
        return [each.name for each in self._by_camera.get(camera, ()) if each.name not in named]

    def _is_due(self, question: Question, frame: Frame) -> bool:
        turn = self._turns[question.camera, question.name]
        now_s = frame.captured_at.monotonic_s
        if turn.asked_s is not None and 0 <= now_s - turn.asked_s < question.seconds:
            return False
        if turn.motion is not None:
            image = question.view.part(frame.image)
            if turn.motion.differs(image):
                turn.moved_s = now_s
            elif turn.moved_s is None or not 0 <= now_s - turn.moved_s <= question.hold_s:
                return False
            turn.motion.mark(image)
        turn.asked_s = now_s
        return True


@dataclass(frozen=True)
class Asked:
    """What the model said about one frame.

    Attributes:
        frame: The frame.
        result: Answers by question.
        views: Names of the views with their share of the batch's time, in milliseconds; None where
            the whole frame was asked about.
    """

    frame: Frame
    result: Result
    views: tuple[tuple[str, float], ...] | None = None


def by_frame(asked: Sequence[Frame | Look], results: Sequence[Result]) -> list[Asked]:
    """Put what the model answered beside the frames, that about views by question.

    Args:
        asked: Frames, or what was looked at of them.
        results: What the model answered about each; a question whose task it lacks has no answer.
    """
    found: dict[int, Asked] = {}
    for each, result in zip(asked, results, strict=True):
        if not isinstance(each, Look):
            found[id(each)] = Asked(each, result)
            continue
        key = id(each.frame)
        before = found.get(key, Asked(each.frame, Result((), result.latency_ms), ()))
        named = [
            replace(result[question.task], name=question.name)
            for question in each.questions
            if question.task in result
        ]
        views = *(before.views or ()), (each.view.name, result.latency_ms / len(asked))
        tasks = *before.result.values(), *named
        found[key] = Asked(each.frame, Result(tasks, result.latency_ms), views)
    return list(found.values())
