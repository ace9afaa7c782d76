"""From a running loop to the states: its answers, and the time that passes without any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snow_runtime.app.states.event import Evidence, StateNews
from snow_runtime.app.states.keeper import AskedTask, StateKeeper
from snow_runtime.app.states.rules import StateRules
from snow_runtime.cameras.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from snow_runtime.app.questions.asking import Questions
    from snow_runtime.app.states.event import StateEvent, StateNow
    from snow_runtime.cameras import CameraGroup, Frame
    from snow_runtime.cameras.clock import Clock
    from snow_runtime.drift.event import DriftEvent
    from snow_runtime.graph.manifest import TaskEntry
    from snow_runtime.results import TaskResult
    from snow_runtime.swap import SwappableModel

    Asked = Callable[[], Mapping[tuple[str, str], AskedTask]]

_LOOK_S: Final = 0.2


class StateFeed:
    """Tells a keeper of states what a loop does.

    Args:
        keeper: Keeper of the states; it may have served another loop before.
        asked: Function that gives, by camera and question, what the answers may be at present.
        clock: The time.

    Attributes:
        asked: That function.
    """

    def __init__(self, keeper: StateKeeper, asked: Asked, clock: Clock = SYSTEM_CLOCK) -> None:
        self._keeper = keeper
        self.asked = asked
        self._clock = clock
        self._looked_s = float("-inf")
        self._told = -1  # the revision that outputs know

    def put(
        self,
        frame: Frame,
        results: Mapping[str, TaskResult],
        idle: Iterable[str] = (),
        *,
        unknown: bool = True,
        picture: str | None = None,
    ) -> tuple[tuple[StateNow, ...], StateNews | None]:
        """Take a frame's answers; return its camera's states, and the news if there are any.

        Args:
            frame: The frame.
            results: Answers by question; what is not asked any more, or otherwise, is passed over.
            idle: Questions that did not have to be asked about it.
            unknown: Whether answers that should not be acted on vote for `unknown`.
            picture: Where the frame's picture will be; None where it is not kept.
        """
        now = self._clock.now()
        evidence = Evidence(frame.number, frame.captured_at.unix_s, picture)
        events: list[StateEvent] = []
        asked = self.asked()
        for name, result in results.items():
            task = asked.get((frame.camera, name))
            if task is None or not task.is_answered_by(result):
                continue  # it was under way when the question or the model was exchanged
            events += self._keeper.see(frame.camera, name, result, evidence, now, unknown=unknown)
        for name in idle:
            events += self._keeper.alive(frame.camera, name, now)
        return self._keeper.states(frame.camera), self._news(events)

    def names(self, camera: str) -> list[str]:
        """Return what a camera's frames are asked."""
        return [name for place, name in self.asked() if place == camera]

    def idle(self, camera: str, questions: Iterable[str]) -> StateNews | None:
        """Note that a frame came and questions did not have to be asked; return the news."""
        now = self._clock.now()
        return self._news(
            [event for name in questions for event in self._keeper.alive(camera, name, now)]
        )

    def look(self) -> StateNews | None:
        """Let time pass, and follow a model that was exchanged; return the news if there are any.

        It may be called as often as one likes, and acts a few times a second.
        """
        now = self._clock.now()
        if 0 <= now.monotonic_s - self._looked_s < _LOOK_S:
            return None
        self._looked_s = now.monotonic_s
        asked = self.asked()
        events = self._keeper.keep(asked, now)
        for (camera, question), task in asked.items():
            events += self._keeper.expect(camera, question, task, now)
        events += self._keeper.look(now)
        return self._news(events)

    def news_of(self, drifts: tuple[DriftEvent, ...]) -> StateNews:
        """Give news of drift, with the states as they are."""
        return StateNews((), self._keeper.states(), drifts)

    def _news(self, events: list[StateEvent]) -> StateNews | None:
        if not events and self._told == self._keeper.revision:
            return None
        self._told = self._keeper.revision
        return StateNews(tuple(events), self._keeper.states())


def keep_states(
    model: SwappableModel,
    cameras: CameraGroup,
    rules: StateRules | None = None,
    questions: Questions | None = None,
) -> StateFeed:
    """Make what a :class:`Loop` keeps states with.

    Args:
        model: The loop's model; states follow it when it is swapped.
        cameras: The loop's cameras.
        rules: When states change; None for the usual ones.
        questions: The loop's questions; None keeps a state of each task of each camera.
    """
    names = [camera.name for camera in cameras.cameras]

    def asked() -> dict[tuple[str, str], AskedTask]:
        tasks = asked_tasks(model)
        if questions is None:
            return {(camera, name): task for camera in names for name, task in tasks.items()}
        return {(q.camera, q.name): tasks[q.task] for q in questions.all if q.task in tasks}

    return StateFeed(StateKeeper(StateRules() if rules is None else rules), asked)


def asked_tasks(model: SwappableModel) -> dict[str, AskedTask]:
    """Return, by name, what the answers of a model's tasks may be, its readouts' included."""
    entries = task_entries(model)
    return {name: AskedTask(task.labels, task.answers) for name, task in entries.items()}


def task_entries(model: SwappableModel) -> dict[str, TaskEntry]:
    """Return, by name, what is known of a model's tasks, its readouts' included."""
    with model.held() as present:
        own, readouts = present.manifest.tasks, present.readouts
    return {task.name: task for task in (*own, *(readout.facts.task for readout in readouts))}
