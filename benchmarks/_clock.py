"""Taking turns: contenders are timed round by round, since a machine's speed drifts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def alternate(visits: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Visit every contender once a round; return each one's smallest figure.

    The minimum, because whatever else a machine does only ever adds to a time.

    Args:
        visits: By name; each measures its contender and returns milliseconds.
        rounds: At least one.
    """
    best = dict.fromkeys(visits, float("inf"))
    for number in range(rounds):
        order = list(visits)
        for name in order if number % 2 == 0 else order[::-1]:
            best[name] = min(best[name], visits[name]())
    return best


def fastest_ms(run: Callable[[], object], *, warm_up: int, runs: int) -> float:
    """Call a function `warm_up` times, then time it `runs` times; return the least, in ms."""
    for _ in range(warm_up):
        run()
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - started)
    return 1e3 * best
