"""The last changes of each state, for those who look later."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from snow_runtime.app.states.event import StateEvent, StateNews, StateNow

    Key = tuple[str, str, str | None]

KEPT: Final = 24
"""So many changes of each state are kept,"""
NEWEST: Final = 100
"""and so many of all together: the end of what is no state any more is among them."""


class StateLog:
    """What states are, and how they came to be; the loop writes, any thread reads.

    Each change has a number, one more than the one before, so that a reader knows what is new to
    it. What is no state any more is forgotten with its changes, but for the newest of all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._states: tuple[StateNow, ...] = ()
        self._events: dict[Key, deque[tuple[int, StateEvent]]] = {}
        self._newest: deque[tuple[int, StateEvent]] = deque(maxlen=NEWEST)

    def tell(self, news: StateNews) -> None:
        """Take what has changed, and all states after it."""
        with self._lock:
            self._states = news.states
            for event in news.events:
                self._number += 1
                key = event.camera, event.question, event.label
                kept = self._events.setdefault(key, deque(maxlen=KEPT))
                kept.append((self._number, event))
                self._newest.append((self._number, event))
            present = {(each.camera, each.question, each.label) for each in news.states}
            for key in [key for key in self._events if key not in present]:
                del self._events[key]

    @property
    def states(self) -> tuple[StateNow, ...]:
        """All states of all cameras."""
        with self._lock:
            return self._states

    def since(self, number: int) -> list[tuple[int, StateEvent]]:
        """Return the changes that are kept and have a higher number, with it, in order."""
        with self._lock:
            if number >= self._number:
                return []
            kept = [self._newest, *self._events.values()]
            found = {at: event for events in kept for at, event in events if at > number}
        return sorted(found.items())
