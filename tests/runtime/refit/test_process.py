"""The process that fits: its bounds, and what is said of its end."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_runtime.collection.version_folders import sweep_fits
from snow_runtime.refit.groups import Taken
from snow_runtime.refit.job import FitJob
from snow_runtime.refit.process import FitProcess
from tests.runtime.readout.graphs import manifest_of
from tests.runtime.refit.boxes import InlineFit, until

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("scipy")
pytest.importorskip("threadpoolctl")


def job_of(rows: int, width: int = 8, memory_bytes: int = 0, *, broken: bool = False) -> FitJob:
    rng = np.random.default_rng(0)
    targets = np.arange(rows) % 2
    features = rng.normal(size=(rows, width)) + 2 * targets[:, np.newaxis]
    features[0, 0] = np.nan if broken else 0
    return FitJob(
        "door",
        ("open", "shut"),
        targets,
        np.arange(rows),
        features.astype(np.float16),
        Taken(
            np.zeros(rows, np.int64),
            3600 * np.arange(rows, dtype=np.float64),
            np.ones(rows, np.bool_),
        ),
        np.ones(rows, np.bool_),
        np.zeros(width, np.float32),
        manifest_of(),
        memory_bytes,
    )


def ended(process: FitProcess) -> str:
    until(lambda: not process.running)
    trouble = process.trouble()
    process.close()
    return trouble


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_is_the_least_urgent_one_and_takes_no_more_memory_than_it_may(tmp_path: Path) -> None:
    process = FitProcess(job_of(400, 4000, 64 << 20), tmp_path, 60)
    until(lambda: os.getpriority(os.PRIO_PROCESS, process.pid) == 19)

    assert "needs more memory than the 64 MiB" in ended(process)
    assert not list(tmp_path.iterdir())


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    process = FitProcess(job_of(10), tmp_path, 0.0)
    time.sleep(0.01)
    assert "took longer than 0 s" in ended(process)


def test_what_cannot_be_fitted_is_said(tmp_path: Path) -> None:
    assert "are NaN or infinite" in ended(InlineFit(job_of(10, broken=True), tmp_path, 60))


def test_only_what_nobody_waits_for_is_swept(tmp_path: Path) -> None:
    process = InlineFit(job_of(10), tmp_path, 60)
    left = tmp_path / ".fit-left"
    left.mkdir()
    sweep_fits(tmp_path)

    assert list(tmp_path.iterdir()) == [process.folder]
    assert process.done is not None
    process.close()
    assert not list(tmp_path.iterdir())
