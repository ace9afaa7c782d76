"""A change of a state, and the frame that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snow_runtime.cameras.clock import Instant
    from snow_runtime.drift.event import DriftEvent

Because = Literal["answers", "silence", "gone"]
"""Why a state changed: enough answers agree; there was none for too long; the model knows the
label or the task no longer."""


@dataclass(frozen=True)
class Evidence:
    """A frame that an answer was about.

    Attributes:
        number: Number of the frame, as the camera counts.
        taken_at: Time when it was captured, in seconds since 1970 (UTC).
        picture: Where its picture is kept; None where it is not.
    """

    number: int
    taken_at: float
    picture: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found: dict[str, Any] = {"frame": self.number, "time": round(self.taken_at, 3)}
        if self.picture is not None:
            found["picture"] = self.picture
        return found


@dataclass(frozen=True)
class Change:
    """One step of a state machine.

    Attributes:
        before: The state that ended.
        after: The state that began.
        because: Why.
        at: Time of the change.
        evidence: The latest frame that spoke for the new state; for "stale" the last one that was
            answered. None where none was.
    """

    before: str
    after: str
    because: Because
    at: Instant
    evidence: Evidence | None


@dataclass(frozen=True)
class StateNow:
    """The state of a question, or of one of its labels, at one moment.

    Attributes:
        camera: Name of the camera.
        question: Name of the question.
        label: The label whose state it is, where several may be right; None where one is.
        state: The state.
        since: Time when it began, in seconds since 1970 (UTC); None before anything was told.
    """

    camera: str
    question: str
    label: str | None
    state: str
    since: float | None


def states_to_dict(states: Iterable[StateNow]) -> dict[str, Any]:
    """Return plain JSON values by question; of one with several labels by label below it."""
    found: dict[str, Any] = {}
    for each in states:
        since = None if each.since is None else round(each.since, 3)
        entry = {"state": each.state, "since": since}
        if each.label is None:
            found[each.question] = entry
        else:
            found.setdefault(each.question, {"labels": {}})["labels"][each.label] = entry
    return found


@dataclass(frozen=True)
class StateEvent:
    """A change of one question's state.

    Attributes:
        camera: Name of the camera.
        question: Name of the question.
        label: The label whose state it is, where several may be right; None where one is.
        change: What changed.
    """

    camera: str
    question: str
    label: str | None
    change: Change

    @property
    def now(self) -> StateNow:
        """The state after it."""
        change = self.change
        return StateNow(self.camera, self.question, self.label, change.after, change.at.unix_s)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        change = self.change
        return {
            "event": "state",
            "camera": self.camera,
            "question": self.question,
            **({} if self.label is None else {"label": self.label}),
            "before": change.before,
            "after": change.after,
            "because": change.because,
            "time": round(change.at.unix_s, 3),
            "evidence": None if change.evidence is None else change.evidence.to_dict(),
        }


@dataclass(frozen=True)
class StateNews:
    """What outputs are told when something has changed, or is asked for the first time.

    Attributes:
        events: What changed, in order.
        states: All states of all cameras after it.
        drifts: Questions whose frames have left what was trained on, or have come back.
    """

    events: tuple[StateEvent, ...]
    states: tuple[StateNow, ...]
    drifts: tuple[DriftEvent, ...] = ()

    @property
    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        """What is told, an event each: its camera, and plain JSON values."""
        events: tuple[StateEvent | DriftEvent, ...] = (*self.events, *self.drifts)
        return [(event.camera, event.to_dict()) for event in events]
