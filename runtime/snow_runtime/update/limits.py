"""How fast and when a box may download."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_DAY: Final = 24 * 60


class RateLimit:
    """Holds up whoever reads faster than allowed.

    Args:
        bytes_per_s: Bytes a second; None for any number.
        clock: Monotonic time in seconds.
        sleep: What waits.
    """

    def __init__(
        self,
        bytes_per_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._due_s = float("-inf")  # when what was read so far may have been read

    def chunk_bytes(self, most: int) -> int:
        """Return how much to read at once, so that no wait is much longer than a second."""
        return most if not self._rate else max(1, min(most, int(self._rate)))

    def took(self, size_bytes: int) -> None:
        """Wait as long as these bytes are to take."""
        if not self._rate:
            return
        now = self._clock()
        self._due_s = max(self._due_s, now) + size_bytes / self._rate
        if self._due_s > now:
            self._sleep(self._due_s - now)


@dataclass(frozen=True)
class Hours:
    """Hours of the day, by the box's own clock and time zone.

    Attributes:
        begin: Minute of the day of the first.
        end: Minute of the day that is the first outside; before `begin` where midnight is inside.
    """

    begin: int
    end: int

    @staticmethod
    def parse(text: str) -> Hours:
        """Read `22:00-06:00`.

        Raises:
            InputError: It is none.
        """
        found = re.fullmatch(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", text.replace(" ", ""))
        if found is not None:
            hours = [int(each) for each in found.groups()]
            begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
            if begin < _DAY and end <= _DAY and hours[1] < 60 and hours[3] < 60 and begin != end:
                return Hours(begin, end)
        msg = f"{text!r} are no hours, expected a stretch such as 22:00-06:00. Correct it."
        raise InputError(msg)

    def has(self, moment: datetime | None = None) -> bool:
        """Tell whether a moment lies in them; None for now."""
        local = (moment or datetime.now(timezone.utc)).astimezone() if moment is None else moment
        minute = local.hour * 60 + local.minute
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


def parse_rate(text: str) -> float:
    """Read `200kB` as bytes a second.

    Raises:
        InputError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMG]?B)(?:/s)?", text)
    if found is None or not float(found[1]):
        msg = f"{text!r} is no rate, expected bytes a second such as 200kB or 1.5MB. Correct it."
        raise InputError(msg)
    return float(found[1]) * _UNITS[found[2]]
