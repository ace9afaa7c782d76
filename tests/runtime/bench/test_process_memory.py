from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from snow_runtime.bench.process_memory import ProcessMemory, read_process_memory

STATUS = "Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n"


def test_a_status_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_text(STATUS, encoding="utf-8")

    assert read_process_memory(path) == ProcessMemory(now_bytes=1 << 20, peak_bytes=2 << 20)


def test_what_the_system_does_not_tell_is_none(tmp_path: Path) -> None:
    path = tmp_path / "status"
    assert read_process_memory(path) == ProcessMemory(None, None)
    path.write_text("Name:\tpython\n", encoding="utf-8")
    assert read_process_memory(path) == ProcessMemory(None, None)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not Linux")
def test_memory_that_is_taken_shows() -> None:
    assert sys.platform == "linux"
    before = read_process_memory()
    taken = mmap.mmap(-1, 64 << 20)  # of the system: an array may be made of kept memory
    np.frombuffer(taken, np.uint8)[:] = 1
    after = read_process_memory()

    assert before.now_bytes is not None
    assert after.now_bytes is not None
    assert after.peak_bytes is not None
    assert after.now_bytes - before.now_bytes > 0.9 * len(taken)
    assert after.peak_bytes >= after.now_bytes
