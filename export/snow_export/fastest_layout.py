"""Choice: which layout of a graph is the fastest on this machine, by a measurement."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, get_args

import numpy as np

from snow_export.export import build_graph
from snow_runtime.backends.onnxruntime_session import OnnxSession
from snow_runtime.graph.manifest import Layout

if TYPE_CHECKING:
    from snow_export.export import ExportRequest
    from snow_runtime.backends.batch import Batch

ROUNDS = 3
RUNS = 5


def time_layouts(
    request: ExportRequest, rounds: int = ROUNDS, runs: int = RUNS
) -> dict[Layout, float]:
    """Build a graph in every layout and time each in ONNX Runtime, in alternating rounds.

    Each visit opens one session alone: the idle threads of another would keep spinning for a
    while on the cores that this one needs.

    Args:
        request: What to export; its batch (one, where it is open) is what runs.
        rounds: Number of visits to each layout, in reverse order every second round.
        runs: Timed runs in a visit, after two to warm up.

    Returns:
        The least milliseconds of one run, by layout, the fastest first.

    Raises:
        ExportError: A graph cannot be built.
    """
    pictures = np.resize(
        request.pictures, (request.options.batch or 1, *request.pictures.shape[1:])
    )
    feed = request.feed(pictures)
    layouts: tuple[Layout, ...] = get_args(Layout)
    times = dict.fromkeys(layouts, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        paths = {layout: Path(folder) / f"{layout}.onnx" for layout in layouts}
        for layout, path in paths.items():
            wanted = replace(request, options=replace(request.options, layout=layout))
            path.write_bytes(build_graph(wanted).SerializeToString())
        for number in range(rounds):
            for layout in layouts[:: -1 if number % 2 else 1]:
                times[layout] = min(times[layout], _visit(paths[layout], feed, runs))
    return dict(sorted(times.items(), key=lambda item: item[1]))


def _visit(path: Path, feed: Batch, runs: int) -> float:
    """Return the least milliseconds of some runs in a session of their own."""
    session = OnnxSession(path)
    try:
        for _ in range(2):
            session.run(feed)
        best = float("inf")
        for _ in range(runs):
            started = perf_counter()
            session.run(feed)
            best = min(best, (perf_counter() - started) * 1e3)
    finally:
        session.close()
    return best
