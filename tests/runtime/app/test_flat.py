"""The loop at full speed for a few seconds; `benchmarks/runtime.py` runs it for an hour."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from snow_runtime import CameraGroup, SwappableModel, load, open_camera
from snow_runtime.app.loop import Loop
from snow_runtime.app.outputs.jsonl import NullOutput
from snow_runtime.bench.process_memory import read_process_memory

if TYPE_CHECKING:
    from tests.runtime.conftest import Graph

URI = "synthetic://?width=320&height=240&fps=0"


def test_memory_stays_flat_and_no_thread_is_left(graph: Graph) -> None:
    before = set(threading.enumerate())
    sizes: list[int] = []
    with (
        SwappableModel(load(graph.path, threads=1)) as model,
        CameraGroup([open_camera(URI, name="a"), open_camera(URI, name="b")]) as cameras,
    ):
        loop = Loop(model, cameras, [NullOutput()])
        thread = threading.Thread(target=loop.run)
        thread.start()
        for _ in range(30):
            time.sleep(0.1)
            size = read_process_memory().now_bytes
            if size is None:
                pytest.skip("this system does not tell a process's memory")
            sizes.append(size)
        loop.stop()
        thread.join(10)
        answered = sum(loop.stats.snapshot()["frames"].values())

    assert answered > 50
    assert max(sizes[15:]) < 1.02 * min(sizes[10:15])
    assert [left for left in threading.enumerate() if left not in before] == []
