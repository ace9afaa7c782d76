"""The state of one thing that is asked: N of M votes, a least time, and silence."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from snow_runtime.app.states.event import Because, Change, Evidence
from snow_runtime.app.states.votes import STALE, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Collection

    from snow_runtime.app.states.rules import StateRules
    from snow_runtime.cameras.clock import Instant


class StateMachine:
    """Holds a state, and changes it when enough votes speak for another one.

    It begins as "stale". A vote that the newest M hold N times makes the state, once the present
    one has lasted long enough; votes count that came since it began, so that N of them lie between
    two changes. Without a vote for too long it is stale, whatever the state and its age. Time is
    the caller's: a clock that goes back counts as one that stood still.

    Args:
        rules: When it changes.

    Attributes:
        state: The state.
        since: Time when it began; None before anything was told.
    """

    def __init__(self, rules: StateRules) -> None:
        self._rules = rules
        self._votes: deque[tuple[str, Evidence]] = deque(maxlen=rules.frames)
        self.state = STALE
        self.since: Instant | None = None
        self._last: Evidence | None = None
        self._clock_s: float | None = None  # what the caller's clock showed last
        self._passed_s = 0.0  # all time up to now,
        self._began_s = 0.0  # up to when the state began,
        self._heard_s = 0.0  # and up to the last vote

    @property
    def rules(self) -> StateRules:
        """When it changes; others may take their place at any time, and the newest votes stay."""
        return self._rules

    @rules.setter
    def rules(self, rules: StateRules) -> None:
        self._rules = rules
        self._votes = deque(self._votes, maxlen=rules.frames)

    def vote(self, state: str, evidence: Evidence, now: Instant) -> list[Change]:
        """Take a vote; return what changed, in order.

        Args:
            state: State that an answer speaks for.
            evidence: Frame that the answer is about.
            now: Time of the answer.
        """
        changes = self.look(now)
        self._heard_s = self._passed_s
        self._last = evidence
        self._votes.append((state, evidence))
        return changes + self._settle(now)

    def look(self, now: Instant) -> list[Change]:
        """Let time pass; return what changed."""
        if self._clock_s is not None:
            self._passed_s += max(0.0, now.monotonic_s - self._clock_s)
        self._clock_s = now.monotonic_s
        if self.since is None:
            self.since = now
        if self._passed_s - self._heard_s >= self._rules.stale_s:
            self._votes.clear()
            return self._become(STALE, "silence", now, self._last)
        return self._settle(now)

    def alive(self, now: Instant) -> list[Change]:
        """Note that nothing had to be asked: there is no vote, and no silence either."""
        changes = self.look(now)
        self._heard_s = self._passed_s
        return changes

    def restrict(self, states: Collection[str], now: Instant) -> list[Change]:
        """Forget all states but these, which the model has; return what changed.

        The votes for others are gone, and a state that is none of them is stale at once.
        """
        known = {*states, UNKNOWN}
        kept = [vote for vote in self._votes if vote[0] in known]
        self._votes = deque(kept, maxlen=self._rules.frames)
        if self.state in {*known, STALE}:
            return []
        return self._become(STALE, "gone", now, self._last)

    def end(self, now: Instant) -> list[Change]:
        """Leave it as stale, since nothing will be asked any more; return what changed."""
        return self._become(STALE, "gone", now, self._last)

    def _settle(self, now: Instant) -> list[Change]:
        """Change to what enough votes speak for, unless the state is too young to end."""
        young = self._passed_s - self._began_s < self._rules.dwell_s
        if young and self.state != STALE:
            return []
        counts: dict[str, int] = {}
        for state, _ in self._votes:
            counts[state] = counts.get(state, 0) + 1
        for state, count in counts.items():
            if count >= self._rules.needed:
                latest = next(frame for vote, frame in reversed(self._votes) if vote == state)
                return self._become(state, "answers", now, latest)
        return []

    def _become(
        self, state: str, because: Because, now: Instant, evidence: Evidence | None
    ) -> list[Change]:
        if state == self.state:
            return []
        change = Change(self.state, state, because, now, evidence)
        self.state, self.since, self._began_s = state, now, self._passed_s
        self._votes.clear()
        return [change]
