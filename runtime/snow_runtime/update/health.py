"""Whether a program does its work, by what it counts."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86_400.0
"""So long after its last answer a program still has to answer."""
_STRIKES: Final = 3
"""So many reports in a row have to be bad: one may be a pause of the machine."""


@dataclass(frozen=True)
class ProgramCounts:
    """What a program has counted since it began.

    Attributes:
        answered: Frames that were answered.
        errors: Frames that the model failed on.
        latency_sum_ms: Sum of the answers' times, in milliseconds.
    """

    answered: int
    errors: int
    latency_sum_ms: float


class HealthWatch:
    """Finds a fault in what a program reports, from the moment of a switch on.

    Reports and questions may come from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._budget_ms: float | None = None
        self._last: ProgramCounts | None = None
        self._strikes = 0
        self._fault: str | None = None
        self._answered_s: float | None = None  # when it did last
        self._answered = False  # since the last switch
        self._has_to = False

    def begin(self, budget_ms: float | None, *, has_to_answer: bool = False) -> None:
        """Begin anew: there has been a switch.

        Args:
            budget_ms: Longest mean time of an answer, in milliseconds; None for any.
            has_to_answer: Another process has answered frames lately.
        """
        with self._lock:
            self._budget_ms = budget_ms
            self._last, self._strikes, self._fault = None, 0, None
            if has_to_answer:
                self._answered_s = time.monotonic()
            self._has_to = self._is_lately()
            self._answered = False

    @property
    def answers(self) -> bool:
        """Whether a frame has been answered since the last switch, if some were before it.

        A camera that another release cannot reach makes no errors; it makes nothing. A day after
        the last answer it may as well have been taken away.
        """
        with self._lock:
            return self._answered or not (self._has_to and self._is_lately())

    @property
    def answered_lately(self) -> bool:
        """Whether a frame has been answered in the last day."""
        with self._lock:
            return self._is_lately()

    def _is_lately(self) -> bool:
        return self._answered_s is not None and time.monotonic() - self._answered_s < DAY_S

    @property
    def fault(self) -> str | None:
        """What is wrong; None where nothing is."""
        with self._lock:
            return self._fault

    def fail(self, why: str) -> None:
        """Note a fault, if it is the first."""
        with self._lock:
            self._fault = self._fault or why

    def report(self, counts: ProgramCounts) -> None:
        """Take what the program has counted by now; counts of a new process begin at 0 again."""
        with self._lock:
            last, self._last = self._last, counts
            if last is None or counts.answered < last.answered or counts.errors < last.errors:
                return
            answered, errors = counts.answered - last.answered, counts.errors - last.errors
            if answered + errors == 0:
                self._last = last  # nothing to judge by; the next report is of both stretches
                return
            if answered > 0:
                self._answered, self._answered_s = True, time.monotonic()
            why = self._bad(answered, errors, counts.latency_sum_ms - last.latency_sum_ms)
            self._strikes = self._strikes + 1 if why else 0
            if why and self._strikes >= _STRIKES:
                self._fault = self._fault or why

    def _bad(self, answered: int, errors: int, sum_ms: float) -> str | None:
        if errors > answered:
            return f"the model failed on {errors} of {answered + errors} frames"
        mean_ms = sum_ms / answered
        if self._budget_ms is not None and mean_ms > self._budget_ms:
            return f"an answer took {mean_ms:.1f} ms, expected {self._budget_ms:g} ms or less"
        return None
