"""Taking turns: contenders are timed round by round, since a machine's speed drifts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def least_in_turns(
    visit: Callable[[str, int], float], names: Mapping[str, object], rounds: int
) -> dict[str, float]:
    """Visit every contender once a round, backwards in every second; return the least of each.

    The minimum, because whatever else a machine does only ever adds to a time.

    Args:
        visit: Function that measures a time, given a name and the number of the round.
        names: The contenders.
        rounds: Number of rounds, at least one.
    """
    best = dict.fromkeys(names, float("inf"))
    for number in range(rounds):
        order = list(names)
        for name in order if number % 2 == 0 else order[::-1]:
            best[name] = min(best[name], visit(name, number))
    return best


def elapsed_ms(call: Callable[[], object], times: int, device: torch.device) -> float:
    """Time a number of calls together, by CUDA events or the clock; return ms for one."""
    if device.type != "cuda":
        started = time.perf_counter()
        for _ in range(times):
            call()
        return 1e3 * (time.perf_counter() - started) / times
    begin: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(device)
    begin.record()
    for _ in range(times):
        call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / times
