"""When a state changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snow_runtime.errors import InputError


@dataclass(frozen=True)
class StateRules:
    """How many answers make a state, how sure they are, and how long it lasts at least.

    Attributes:
        needed: N, the number of the last answers that have to agree; more than half of them, so
            that two states never have enough at once. Four of five also withstand an answer that
            is another one each time.
        frames: M, the number of last answers that count.
        dwell_s: Least time that a state lasts, in seconds. It does not hold up "stale", and ends
            no sooner for it.
        upper: Probability from which on an answer speaks for a label that is not the state, in
            [0, 1]; None for 0 where one label is right, and 0.5 where several may be.
        lower: Probability from which on an answer speaks for the label that is the state already;
            None for that of `upper`.
        stale_s: Time without an answer after which a state is stale, in seconds.

    Raises:
        InputError: A number is out of its range.
    """

    needed: int = 4
    frames: int = 5
    dwell_s: float = 1.0
    upper: float | None = None
    lower: float | None = None
    stale_s: float = 10.0

    def __post_init__(self) -> None:
        for seen, expected in self._faults():
            msg = f"A state is to follow {seen}, expected {expected}. Correct the numbers."
            raise InputError(msg)

    def thresholds(self, least: float) -> tuple[float, float]:
        """Return the lower and the upper threshold.

        Args:
            least: The upper one where none is given.
        """
        upper = least if self.upper is None else self.upper
        return upper if self.lower is None else self.lower, upper

    def _faults(self) -> list[tuple[str, str]]:
        found = []
        if not 1 <= self.needed <= self.frames < 2 * self.needed:
            seen = f"{self.needed} of {self.frames} answers"
            found.append((seen, "more than half of them and not more than all, as 4 of 5"))
        if not 0 <= self.dwell_s < math.inf:
            found.append((f"a dwell of {self.dwell_s} s", "0 or more"))
        if not 0 < self.stale_s < math.inf:
            found.append((f"a silence of {self.stale_s} s", "more than 0"))
        for name, value in (("an upper", self.upper), ("a lower", self.lower)):
            if value is not None and not 0 <= value <= 1:
                found.append((f"{name} threshold of {value}", "a probability, 0 to 1"))
        if self.lower is not None and (self.upper is None or self.lower > self.upper):
            seen = f"a lower threshold of {self.lower} below an upper one of {self.upper}"
            found.append((seen, "both, and the lower one not above the upper one"))
        return found
