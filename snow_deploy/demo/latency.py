"""Latency of one shared graph beside separate whole models, measured in turns."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from snow_runtime.backends.onnxruntime_session import OnnxSession

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def compare_latency(
    shared: Path, whole: Path, count: int, *, image_size: int, rounds: int = 40
) -> dict[str, float]:
    """Time one frame through the shared graph and through `count` whole models in turn.

    Every whole model has a session of its own, as separate models would. ONNX Runtime on the
    CPU, batch 1, with its default threads.

    Returns:
        Median milliseconds per frame, as `shared`, `separate` and `single` (one whole model).
    """
    frame = np.zeros((1, 3, image_size, image_size), np.float32)
    providers = ["CPUExecutionProvider"]
    together = OnnxSession(shared, providers=providers)
    apart = [OnnxSession(whole, providers=providers) for _ in range(count)]
    try:
        return median_ms_in_turns(
            {
                "shared": lambda: together.run(frame),
                "separate": lambda: [session.run(frame) for session in apart],
                "single": lambda: apart[0].run(frame),
            },
            rounds,
        )
    finally:
        for session in (together, *apart):
            session.close()


def median_ms_in_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, float]:
    """Call the contenders in turn, round by round; return each one's median milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in times.items()}
