"""Whose turn it is: contenders alternate in short turns, so that drift hits all of them alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from snow_runtime.bench.errors import BenchError

TURN_S: Final = 0.5
"""How long a turn should last: long beside its untimed lead, short beside drift by heat."""
ROUNDS: Final = 8
"""Fewest rounds that a short measurement is cut into, where a call is short enough for that."""


@dataclass(frozen=True)
class TurnPlan:
    """How a measurement is cut into turns.

    Attributes:
        rounds: Turns of each contender.
        turn_s: Seconds of timed calls of one turn.
    """

    rounds: int
    turn_s: float


def plan_turns(duration_s: float, call_s: float) -> TurnPlan:
    """Cut a measurement into rounds, an even number of them where there is more than one.

    Args:
        duration_s: Seconds of timed calls of each contender.
        call_s: Seconds of one call of the slowest contender; a turn holds at least one.

    Raises:
        BenchError: Not even one call fits.
    """
    if call_s > duration_s:
        msg = (
            f"The duration, {duration_s:g} s, is too short for one call, expected more than the "
            f"{call_s:.2g} s that it takes here. Give --duration {10 * call_s:.2g} or longer."
        )
        raise BenchError(msg)
    turn_s = max(min(TURN_S, duration_s / ROUNDS), call_s)
    rounds = max(1, int(duration_s / turn_s + 1e-9))  # the quotient of a whole may fall just below
    if rounds > 1:
        rounds -= rounds % 2  # as many rounds in one order as in the other
    return TurnPlan(rounds, duration_s / rounds)


def turns(contenders: int, number: int) -> list[int]:
    """Return in what order contenders have their turns: reversed in every second round.

    Args:
        contenders: How many there are.
        number: Number of the round, from 0.
    """
    order = list(range(contenders))
    return order if number % 2 == 0 else order[::-1]
