"""Choice: which layout of a graph is the fastest on this machine, by a measurement."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, get_args

import numpy as np

from snow_export.export import build_graph
from snow_runtime.manifest import Layout
from snow_runtime.session import OnnxSession

if TYPE_CHECKING:
    from snow_export.export import ExportRequest

ROUNDS = 10


def time_layouts(request: ExportRequest, rounds: int = ROUNDS) -> dict[Layout, float]:
    """Build a graph in every layout and time each in ONNX Runtime, in alternating rounds.

    Args:
        request: What to export; its batch (one, where it is open) is what runs.
        rounds: How often each runs, after two runs to warm up.

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
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_sessions:
        sessions = {}
        for layout in layouts:
            wanted = replace(request, options=replace(request.options, layout=layout))
            path = Path(folder) / f"{layout}.onnx"
            path.write_bytes(build_graph(wanted).SerializeToString())
            sessions[layout] = OnnxSession(path)
            open_sessions.callback(sessions[layout].close)
        for number in range(2 + rounds):
            for layout, session in sessions.items():
                started = perf_counter()
                session.run(feed)
                taken = perf_counter() - started
                if number >= 2:
                    times[layout] = min(times[layout], taken * 1e3)
    return dict(sorted(times.items(), key=lambda item: item[1]))
