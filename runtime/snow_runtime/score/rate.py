"""How fast a job goes, and how long it will take: a line for a terminal or a log."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WINDOW_S: Final = 60.0


class Progress:
    """Counts the rows of a job's shards.

    Args:
        rows: How many rows each shard has; None where it is not known.
        finished: Rows of the shards that are there already, by number.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        rows: Sequence[int | None],
        finished: dict[int, int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shards = len(rows)
        self._known = sum(count or 0 for count in rows)
        self._unknown = {number for number, count in enumerate(rows) if count is None}
        self._finished = len(finished)
        self._of_unknown = [count for number, count in finished.items() if number in self._unknown]
        self._known -= sum(
            (rows[number] or 0) - count
            for number, count in finished.items()
            if number not in self._unknown
        )
        self._there = sum(finished.values())
        self._done = self._there
        self._current: dict[int, int] = {}
        self._clock = clock
        self._seen = deque([(clock(), self._done)])

    @property
    def scored(self) -> int:
        """Rows that this run has scored."""
        return self._done - self._there

    def advanced(self, number: int, rows: int) -> None:
        """Note how many rows of a shard there are."""
        self._done += rows - self._current.get(number, 0)
        self._current[number] = rows
        self._note()

    def finished(self, number: int, rows: int) -> None:
        """Note that a shard is done."""
        self.advanced(number, rows)
        del self._current[number]
        self._finished += 1
        if number in self._unknown:
            self._of_unknown.append(rows)

    def failed(self, number: int) -> None:
        """Note that a shard was given up: its rows are not there."""
        self.advanced(number, 0)
        del self._current[number]

    @property
    def total(self) -> int | None:
        """Rows of the whole job: of shards not read yet as many as others had; None before any."""
        if not self._unknown:
            return self._known
        if not self._of_unknown:
            return None
        mean = sum(self._of_unknown) / len(self._of_unknown)
        return round(self._known + mean * len(self._unknown))

    @property
    def per_second(self) -> float | None:
        """Rows a second over the last minute; None at the beginning."""
        (began, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - began) if now > began and done > before else None

    def line(self) -> str:
        """Say it in a line."""
        about = "about " if self._unknown else ""
        of = f" of {about}{self.total:,}" if self.total else ""
        parts = [f"{self._done:,}{of} pictures", f"{self._finished} of {self._shards} shards"]
        rate = self.per_second
        if rate is not None:
            parts.append(f"{rate:,.1f} images/s" if rate < 100 else f"{rate:,.0f} images/s")
            if self.total and self.total > self._done:
                parts.append(f"{_duration((self.total - self._done) / rate)} left")
        return ", ".join(parts)

    def _note(self) -> None:
        now = self._clock()
        self._seen.append((now, self._done))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
