"""The states of all questions of all cameras."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snow_runtime.app.states.event import StateEvent, StateNow
from snow_runtime.app.states.machine import StateMachine
from snow_runtime.app.states.votes import state_of, vote_for_each, vote_for_one

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from snow_runtime.app.states.event import Change, Evidence
    from snow_runtime.app.states.rules import StateRules
    from snow_runtime.cameras.clock import Instant
    from snow_runtime.multilabel import Labelling
    from snow_runtime.results import TaskResult


@dataclass(frozen=True)
class AskedTask:
    """What a question's answers may be.

    Attributes:
        labels: Labels of the task.
        answers: ``one`` or ``several``: how many labels may be right.
    """

    labels: tuple[str, ...]
    answers: Labelling

    def is_answered_by(self, result: TaskResult) -> bool:
        """Tell whether a result is an answer to it."""
        return self.labels == result.labels and self.answers == result.answers


@dataclass
class _Question:
    """One that is asked of a camera, with a machine for it, or for each of its labels."""

    task: AskedTask
    machines: dict[str | None, StateMachine] = field(default_factory=dict)


class StateKeeper:
    """Keeps a state for each question of each camera, and tells what changes.

    Of a task of which several labels may be right, each label has a state of its own, on or off.
    A model that takes another one's place goes on with the same states. Where it lacks the label
    that is the state, the state is stale at once. A label with a state of its own, or a question,
    that it lacks becomes stale likewise, and is then forgotten. One thread feeds it, the loop's.

    Args:
        rules: When states change.
        by_question: Rules of single questions, by name.

    Attributes:
        revision: How many questions, and labels with a state of their own, were ever added or
            forgotten.
    """

    def __init__(
        self, rules: StateRules, by_question: Mapping[str, StateRules] | None = None
    ) -> None:
        self._rules = rules
        self._by_question = dict(by_question or {})
        self._next_rules: tuple[StateRules, dict[str, StateRules]] | None = None
        self._questions: dict[tuple[str, str], _Question] = {}
        self.revision = 0

    def follow(
        self, rules: StateRules, by_question: Mapping[str, StateRules] | None = None
    ) -> None:
        """Go by other rules from the next look on; any thread may ask for it.

        No state changes by that alone, but where enough votes for another one are there.
        """
        self._next_rules = rules, dict(by_question or {})

    def expect(self, camera: str, name: str, task: AskedTask, now: Instant) -> list[StateEvent]:
        """Have a state for a question, "stale" until it is answered; return what changed.

        Args:
            camera: Name of the camera.
            name: Name of the question.
            task: What its answers may be now.
            now: The time.
        """
        known = self._questions.get((camera, name))
        if known is not None and known.task == task:
            return []
        events = []
        if known is None or known.task.answers != task.answers:
            events = self._end(camera, name, now)
            known = self._questions[camera, name] = _Question(task)
        known.task = task
        labels: tuple[str | None, ...] = (None,) if task.answers == "one" else task.labels
        rules = self._rules_of(name)
        self.revision += len({*labels} ^ {*known.machines})
        for label in [each for each in known.machines if each not in labels]:
            events += _told(camera, name, label, known.machines.pop(label).end(now))
        known.machines = {each: known.machines.get(each) or StateMachine(rules) for each in labels}
        if task.answers == "one":
            states = [state_of(label) for label in task.labels]
            events += _told(camera, name, None, known.machines[None].restrict(states, now))
        for label, machine in known.machines.items():
            events += _told(camera, name, label, machine.look(now))
        return events

    def see(
        self,
        camera: str,
        name: str,
        result: TaskResult,
        evidence: Evidence,
        now: Instant,
        *,
        unknown: bool = True,
    ) -> list[StateEvent]:
        """Take an answer; return what changed, in order.

        Args:
            camera: Name of the camera.
            name: Name of the question.
            result: Answer of its task.
            evidence: Frame that the answer is about.
            now: Time of the answer.
            unknown: Whether an answer that should not be acted on votes for `unknown`.
        """
        known = self._questions.get((camera, name))
        events: list[StateEvent] = []
        if known is None or not known.task.is_answered_by(result):
            events = self.expect(camera, name, AskedTask(result.labels, result.answers), now)
        unknown = unknown and result.unknown
        shares = {} if result.answers == "one" else _shares(result)
        for label, machine in self._questions[camera, name].machines.items():
            changes = machine.look(now)
            rules, present = machine.rules, machine.state
            if label is None:
                top, share = result.label, result.probability
                vote = vote_for_one(present, top, share, rules, unknown=unknown)
            else:
                vote = vote_for_each(present, shares[label], rules, unknown=unknown)
            changes += machine.vote(vote, evidence, now)
            events += _told(camera, name, label, changes)
        return events

    def alive(self, camera: str, name: str, now: Instant) -> list[StateEvent]:
        """Note that a question did not have to be asked this time: that is no silence."""
        question = self._questions.get((camera, name))
        machines = {} if question is None else question.machines
        return [
            event
            for label, machine in machines.items()
            for event in _told(camera, name, label, machine.alive(now))
        ]

    def look(self, now: Instant) -> list[StateEvent]:
        """Let time pass; return what changed."""
        self._take_up_rules()
        return [
            event
            for (camera, name), question in self._questions.items()
            for label, machine in question.machines.items()
            for event in _told(camera, name, label, machine.look(now))
        ]

    def keep(self, asked: Collection[tuple[str, str]], now: Instant) -> list[StateEvent]:
        """Forget all questions but these, by camera and name; return what changed."""
        gone = [key for key in self._questions if key not in asked]
        return [event for key in gone for event in self._end(*key, now)]

    def states(self, camera: str | None = None) -> tuple[StateNow, ...]:
        """Return a camera's states; None for those of all."""
        return tuple(
            StateNow(of, name, label, machine.state, None if since is None else since.unix_s)
            for (of, name), question in self._questions.items()
            if camera is None or of == camera
            for label, machine in question.machines.items()
            for since in (machine.since,)
        )

    def _take_up_rules(self) -> None:
        following, self._next_rules = self._next_rules, None
        if following is None:
            return
        self._rules, self._by_question = following
        for (_, name), question in self._questions.items():
            for machine in question.machines.values():
                machine.rules = self._rules_of(name)

    def _end(self, camera: str, name: str, now: Instant) -> list[StateEvent]:
        question = self._questions.pop((camera, name), None)
        machines = {} if question is None else question.machines
        self.revision += len(machines)
        return [
            event
            for label, machine in machines.items()
            for event in _told(camera, name, label, machine.end(now))
        ]

    def _rules_of(self, name: str) -> StateRules:
        return self._by_question.get(name, self._rules)


def _shares(result: TaskResult) -> dict[str, float]:
    """Give each label's probability; of labels that are spelt alike the highest."""
    found: dict[str, float] = {}
    for label, share in zip(result.labels, result.probabilities.tolist(), strict=True):
        found[label] = max(share, found.get(label, 0.0))
    return found


def _told(camera: str, name: str, label: str | None, changes: Iterable[Change]) -> list[StateEvent]:
    return [StateEvent(camera, name, label, change) for change in changes]
