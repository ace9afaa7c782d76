"""Which call uses which slot."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snow_runtime.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snow_runtime.engine.lane import Lane, Slot


class SlotPool:
    """Lends each slot to one thread at a time, and knows which calls are under way.

    Args:
        lanes: The lanes whose slots they are.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        # By lane; the first slot on top, so that calls one at a time always find the same
        self._free = [list(reversed(lane.slots)) for lane in lanes]
        self._changed = threading.Condition()
        self._calls = 0
        self._closed = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """Be a call under way, for which :meth:`drain` waits.

        Raises:
            GraphError: The pool is closed.
        """
        with self._changed:
            if self._closed:
                msg = "The engine is closed, expected an open one. Load it again."
                raise GraphError(msg)
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    @contextmanager
    def lend(self, wanted: int) -> Iterator[list[Slot]]:
        """Lend a slot, waiting for it, and beside it at most `wanted` in all that are free now.

        Each comes from the lane with the least to do. If the block raises, what it left under way
        is waited for.
        """
        with self._changed:
            self._changed.wait_for(lambda: any(self._free))
            lent: list[tuple[list[Slot], Slot]] = []
            while len(lent) < wanted and any(self._free):
                lane = max(self._free, key=len)
                lent.append((lane, lane.pop()))
        try:
            yield [slot for _, slot in lent]
        except BaseException:
            for _, slot in lent:
                slot.abandon()
            raise
        finally:
            with self._changed:
                for lane, slot in reversed(lent):
                    lane.append(slot)
                self._changed.notify_all()

    def drain(self) -> None:
        """Let no further call in, wait for those under way and forget the slots."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._calls == 0)
            self._free.clear()
