"""Contenders are called in turns; what is timed is one call after the other of one of them."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final

from snow_runtime.bench.turn_plan import turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_runtime.bench.contender import Contender, Frames
    from snow_runtime.bench.turn_plan import TurnPlan
    from snow_runtime.progress import ProgressCallback

WARM_UP: Final = 5
"""Untimed calls of each contender before the first turn."""
LEAD_S: Final = 0.05
"""Untimed calls at the beginning of each turn, in seconds: caches and clocks find their way."""

_STEP_S: Final = 0.02  # several ticks of a kernel that counts CPU time by ticks of 4 ms
_PATIENCE_S: Final = 0.5
_IDLE: Final = 0.1


def wait_until_idle() -> None:
    """Wait until this process has come to rest, for at most half a second.

    When a run has ended, ONNX Runtime's threads go on looking for work for about a tenth of a
    second (`session.intra_op.allow_spinning`): they would take the next contender's cores.
    """
    for _ in range(round(_PATIENCE_S / _STEP_S)):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        time.sleep(_STEP_S)
        if time.process_time() - cpu_s < _IDLE * (time.perf_counter() - wall_s):
            return


def warm_up(contender: Contender, frames: Frames) -> float:
    """Call a contender a few times; return the seconds of a usual call, the first one left out."""
    contender.call(frames.take())
    return 1e-3 * median(_call_ms(contender, frames) for _ in range(WARM_UP - 1))


def measure_in_turns(
    contenders: Sequence[Contender],
    frames: Frames,
    plan: TurnPlan,
    progress: ProgressCallback,
) -> None:
    """Call contenders in turns; their times go into their samples.

    Args:
        contenders: Contenders that take turns, warmed up.
        frames: What they are called on.
        plan: How many turns each has, and how long ones.
        progress: Callback that gets `measuring` and the share of the rounds that is done.
    """
    for number in range(plan.rounds):
        progress("measuring", number / plan.rounds)
        for index in turns(len(contenders), number):
            wait_until_idle()
            _lead_in(contenders[index], frames)
            # Up to a goal of all turns together: no turn's last call makes the whole any longer.
            _take_turn(contenders[index], frames, (number + 1) * plan.turn_s)
    progress("measuring", 1.0)


def _lead_in(contender: Contender, frames: Frames) -> None:
    spent_ms = 0.0
    while spent_ms < 1e3 * LEAD_S:
        spent_ms += _call_ms(contender, frames)


def _take_turn(contender: Contender, frames: Frames, goal_s: float) -> None:
    samples = contender.samples
    while True:
        samples.add(contender.call(frames.take()))
        if samples.measured_s >= goal_s:
            break
    samples.end_round()


def _call_ms(contender: Contender, frames: Frames) -> float:
    began_s = time.perf_counter()
    contender.call(frames.take())
    return 1e3 * (time.perf_counter() - began_s)
