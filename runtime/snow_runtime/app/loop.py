"""The loop: whatever frames wait are answered together, and the answers are handed out.

A thread prepares the next frames while the model computes.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from snow_runtime.app.answers import WHOLE, FrameAnswer, answer_about
from snow_runtime.app.collecting import compute
from snow_runtime.app.failures import Failures
from snow_runtime.app.latest_frames import LatestFrames
from snow_runtime.app.outputs.jsonl import StateOutput
from snow_runtime.app.prefetch import Prefetcher
from snow_runtime.app.questions.asking import Asked, Look, by_frame
from snow_runtime.app.states.event import StateNews
from snow_runtime.app.stats import Stats
from snow_runtime.app.throttled_logger import ThrottledLogger
from snow_runtime.errors import SnowError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from snow_runtime.app.collecting import Collecting
    from snow_runtime.app.outputs.jsonl import Output
    from snow_runtime.app.prefetch import PreparedFrames
    from snow_runtime.app.questions.asking import Questions
    from snow_runtime.app.states.feed import StateFeed
    from snow_runtime.cameras import CameraGroup, Frame
    from snow_runtime.drift.watcher import DriftWatcher
    from snow_runtime.pictures.prepared import Prepared
    from snow_runtime.results import TaskResult
    from snow_runtime.swap import SwappableModel

_LOGGER = logging.getLogger(__name__)
_WAIT_S: Final = 0.2  # so long at most until a stop is seen
_PAUSE_S: Final = 0.01
_UNASKED: Final = 4096  # more than come while the model computes


class Recording(Protocol):
    """What keeps frames with their answers."""

    def put(self, frame: Frame, answer: FrameAnswer) -> None:
        """Keep one."""


class Added(Protocol):
    """Readouts that come and go while frames flow, each for its cameras."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of those that answer now."""

    def is_about(self, camera: str, name: str) -> bool:
        """Tell whether one is about a camera's whole picture; what is none of these is."""


@dataclass(frozen=True)
class LoopOptions:
    """What the loop is to do.

    Attributes:
        tasks: Names of the tasks to answer; None for all.
        every: N, where one in N frames of a camera is looked at only: the first that is fetched of
            frames 0 to N - 1, the first of N to 2 N - 1, and so on.
        min_confidence: Lowest probability of an answer that is kept, in [0, 1].
        frames: Number of frames to stop after; None goes on until the cameras end or
            :meth:`Loop.stop`.
        unknown: Whether to say which answers should not be acted on.
    """

    tasks: Collection[str] | None = None
    every: int = 1
    min_confidence: float = 0.0
    frames: int | None = None
    unknown: bool = True


@dataclass
class Loop:
    """Frames in, answers out, until it is asked to stop.

    Attributes:
        model: The model that answers; it may be swapped at any time.
        cameras: Cameras that give the frames.
        outputs: Outputs that get the answers.
        options: What is wanted.
        recorders: Recorders of the frames by camera.
        stats: Counters and latencies of the run.
        live: Frames and answers that the page shows.
        failures: Record of failures, which says when to give up.
        states: States of what is asked; None keeps none.
        questions: What is asked about which views, and when; None asks all tasks about each frame.
        beat: Function that is called while the loop lives, some times a second; None for none.
        collecting: What keeps frames that are worth a label; None keeps none.
        added: Readouts that come and go; None for none.
        drift: What watches for drift; None for nothing.
    """

    model: SwappableModel
    cameras: CameraGroup
    outputs: Sequence[Output]
    options: LoopOptions = field(default_factory=LoopOptions)
    recorders: Mapping[str, Recording] = field(default_factory=dict)
    stats: Stats = field(default_factory=Stats)
    live: LatestFrames = field(default_factory=LatestFrames)
    failures: Failures = field(default_factory=Failures)
    states: StateFeed | None = None
    questions: Questions | None = None
    beat: Callable[[], None] | None = None
    collecting: Collecting | None = None
    added: Added | None = None
    drift: DriftWatcher | None = None
    _stopped: bool = False  # no lock in it: a signal handler may interrupt another one
    _turns: dict[str, int] = field(
        default_factory=dict
    )  # by camera, of its last frame that was due
    _taken: int = 0  # of the frames that were asked for; written by the thread that prepares
    _failed: int = 0  # so many of them; written by the thread that computes
    _unasked: deque[str] = field(  # cameras of frames that nothing asks about
        default_factory=lambda: deque(maxlen=_UNASKED)
    )
    _passed: set[str] = field(default_factory=set)  # cameras of frames that were not due
    _unanswered: set[str] = field(default_factory=set)  # whose last frame that was due was left out
    _faults: ThrottledLogger = field(default_factory=lambda: ThrottledLogger(_LOGGER))

    def run(self) -> int:
        """Go on until the cameras have ended or somebody stops it; return how many were answered.

        A batch that the model fails on is counted as `errors` and left out; frames that were ready
        when it was stopped are counted as `unanswered`, those that grew old waiting as `stale`.

        Raises:
            GraphError: The model has failed at everything for half a minute.
        """
        answered = 0
        self.stats.begin()
        with Prefetcher(self._fetch, self._prepare) as ahead:
            while not self._stopped:
                if self.beat is not None:
                    self.beat()
                self._note_unasked()
                if self.states is not None:
                    self._tell(self.states.look())
                ready = ahead.next(_WAIT_S)
                if ready is not None:
                    answered += self._answer(ready)
                elif ahead.ended:
                    break
                if self.options.frames is not None and answered >= self.options.frames:
                    break
        self._note_unasked()
        if ahead.unused:
            self.stats.count("unanswered", ahead.unused)
        return answered

    def stop(self) -> None:
        """End the loop after the batch that is under way; may be called by a signal handler."""
        self._stopped = True

    def _fetch(self) -> list[Frame | Look] | None:
        left = self._left()
        if left == 0:  # until those under way are answered, or have failed
            time.sleep(_PAUSE_S)
            return []
        waiting = self.cameras.wait(_WAIT_S, at_most=left)
        if not waiting and self.cameras.ended:
            return None
        frames = [frame for frame in waiting if self._is_due(frame)]
        if self.questions is not None:
            return self._looks(self.questions, frames)
        self._taken += len(frames)
        return [*frames]

    def _looks(self, questions: Questions, frames: list[Frame]) -> list[Frame | Look]:
        """Give what is looked at of frames, and note those that nothing is asked about."""
        looks = questions.looks(frames, self.live.shows)
        asked = {id(look.frame) for look in looks}
        self._taken += len(asked)
        for frame in frames:
            if id(frame) not in asked:
                self.live.show(frame)
                self._unasked.append(frame.camera)
        return [*looks]

    def _note_unasked(self) -> None:
        """Take note of the frames that nothing was asked about since the last time."""
        while self._unasked:
            camera = self._unasked.popleft()
            self._unanswered.discard(camera)
            self.stats.alive()
            self.stats.count("unasked")
            if self.states is not None:
                self._tell(self.states.idle(camera, self._idle(camera, ())))
        while self._passed:
            camera = self._passed.pop()
            if camera in self._unanswered:
                continue
            self.stats.alive()
            if self.states is not None:
                self._tell(self.states.idle(camera, self._shown_names(camera)))

    def _idle(self, camera: str, asked: Iterable[str]) -> list[str]:
        """Give a camera's questions that did not have to be asked; none that is off."""
        idle = [] if self.questions is None else self.questions.idle(camera, asked)
        return [name for name in idle if self.live.shows(camera, name)]

    def _shown_names(self, camera: str) -> list[str]:
        """Give what a camera's frames are asked, but for what is off."""
        names = [] if self.states is None else self.states.names(camera)
        return [name for name in names if self.live.shows(camera, name)]

    def _is_due(self, frame: Frame) -> bool:
        """Tell whether it is a camera's first in its turn; frames in between may never be seen."""
        turn = frame.number // self.options.every
        if self.options.every > 1 and turn == self._turns.get(frame.camera):
            self._passed.add(frame.camera)
            return False
        self._turns[frame.camera] = turn
        return True

    def _left(self) -> int | None:
        """Give how many frames may still be taken; None: any number."""
        if self.options.frames is None:
            return None
        return self.options.frames - self._taken + self._failed

    def _prepare(self, frames: list[Frame | Look]) -> Prepared:
        return self.model.prepare([frame.image for frame in frames], "bgr")

    def _answer(self, ready: PreparedFrames[Frame | Look]) -> int:
        frames, prepared = ready.frames, ready.prepared
        try:
            old = {id(_frame_of(each)): _frame_of(each).stale for each in frames}  # at one moment
            fresh = [each for each in frames if not old[id(_frame_of(each))]]
            if len(fresh) < len(frames):  # the model took long over the batch before
                self._leave_out("stale", [each for each in frames if old[id(_frame_of(each))]])
                if not fresh:
                    return 0
                frames, prepared = fresh, self._prepare(fresh)
            if isinstance(prepared, SnowError):
                raise prepared
            kept = None if self.collecting is None else compute(self.model, prepared)
            results = self.model.answer(prepared) if kept is None else kept.results
        except SnowError as error:
            self._leave_out("errors", frames)
            self.failures.failed(error, len(frames))
            return 0
        self.failures.succeeded()
        answered = by_frame(frames, results)
        changed: set[tuple[str, str]] = set()
        for asked in answered:
            news = self._put(asked, self._shown(asked.frame.camera))
            if news is not None:
                changed.update((each.camera, each.question) for each in news.events)
        if self.collecting is not None and kept is not None:
            self._guarded(self.collecting.look, frames, kept, changed, self._shown)
        return len(answered)

    def _put(self, asked: Asked, shown: Collection[str] | None) -> StateNews | None:
        """Put a frame's answers into words, hand them out, and return what they changed."""
        frame, result = asked.frame, asked.result
        least, unknown = self.options.min_confidence, self.options.unknown
        answer = answer_about(frame, result, shown, least, unknown=unknown)
        self.stats.record_answered(frame.camera, answer.latency_ms, answer.age_ms)
        self._unanswered.discard(frame.camera)
        idle: Collection[str] = ()
        if asked.views is not None:
            answer = replace(answer, views=asked.views)
            for view, share_ms in asked.views:
                self.stats.record_view(frame.camera, view or WHOLE, share_ms)
            idle = self._idle(frame.camera, result)
        news = None
        if self.states is not None:
            seen = {name: task for name, task in result.items() if _among(name, shown)}
            picture = getattr(self.recorders.get(frame.camera), "keeps_in", None)
            now, news = self.states.put(frame, seen, idle, unknown=unknown, picture=picture)
            answer = replace(answer, states=now)
        self.live.put(frame, answer, idle)
        self._hand_out(frame, answer)
        self._tell(news)
        if self.drift is not None:
            self._watch(self.drift, frame, {k: v for k, v in result.items() if _among(k, shown)})
        return news

    def _watch(self, drift: DriftWatcher, frame: Frame, seen: Mapping[str, TaskResult]) -> None:
        """Look whether a camera's frames have left what was trained on, and tell it."""
        changed = drift.see(frame.camera, seen, frame.captured_at.unix_s)
        if not changed:
            return
        self.stats.count("drift_changes", len(changed))
        states = self.states
        self._tell(StateNews((), (), changed) if states is None else states.news_of(changed))

    def _leave_out(self, why: str, left: Sequence[Frame | Look]) -> None:
        looks = [each for each in left if isinstance(each, Look)]
        count = len({id(look.frame) for look in looks}) + len(left) - len(looks)
        self.stats.count(why, count)
        self._failed += count
        self._unanswered.update(_frame_of(each).camera for each in left)
        if self.questions is not None:
            self.questions.missed(looks)

    def _hand_out(self, frame: Frame, answer: FrameAnswer) -> None:
        """Give an answer to all outputs; a defect in one costs no other one anything."""
        recorder = self.recorders.get(frame.camera)
        for output in self.outputs:
            self._guarded(output.put, answer)
        if recorder is not None:
            self._guarded(recorder.put, frame, answer)

    def _tell(self, news: StateNews | None) -> None:
        """Give news of states likewise to all outputs that take them."""
        if news is None:
            return
        if news.events:
            self.stats.count("state_changes", len(news.events))
        self.live.changes.tell(news)
        for output in self.outputs:
            if isinstance(output, StateOutput):
                self._guarded(output.tell, news)

    def _guarded(self, hand_over: Callable[..., None], *given: object) -> None:
        try:
            hand_over(*given)
        except Exception as error:  # noqa: BLE001 - an app's own output may raise anything
            self.stats.count("output_errors")
            self._faults.warning(f"an output failed: {type(error).__name__}: {error}")

    def _shown(self, camera: str) -> Collection[str] | None:
        if not self.live.hidden and not self.live.off and self.added is None:
            return self.options.tasks
        return [
            task
            for task in self.asked
            if self.live.shows(camera, task)
            and (self.added is None or self.questions or self.added.is_about(camera, task))
        ]

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of the questions, or of the tasks, that are answered."""
        if self.questions is not None:
            return self.questions.names
        if not self.options.tasks:
            return self.model.tasks
        names = () if self.added is None else self.added.names
        return tuple(dict.fromkeys([*self.options.tasks, *names]))


def _frame_of(each: Frame | Look) -> Frame:
    return each.frame if isinstance(each, Look) else each


def _among(task: str, shown: Collection[str] | None) -> bool:
    return shown is None or task in shown
