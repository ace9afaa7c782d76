"""Scoring in processes, some of which end in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("pyarrow")

from snow_runtime.errors import GraphError
from snow_runtime.score import pool
from snow_runtime.score.errors import OutputError, ScoreError
from snow_runtime.score.pool import ProcessPool
from tests.runtime.readout.graphs import feature_graph
from tests.runtime.score import dying
from tests.runtime.score.jobs import expected_rows, rows_of, run_job, write_pictures

if TYPE_CHECKING:
    from snow_runtime.score.shard_worker import Setup
    from tests.conftest import MakeModel
    from tests.runtime.readout.graphs import FeatureGraph


@pytest.fixture
def model(tmp_path: Path) -> FeatureGraph:
    return feature_graph(tmp_path / "snow.onnx")


def two(setup: Setup) -> ProcessPool:
    return ProcessPool(setup, 2)


def test_processes_that_end_are_replaced_and_a_deadly_picture_gets_its_row(
    model: FeatureGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_work", dying.work)
    paths = write_pictures(tmp_path / "in", 8)
    once, deadly = tmp_path / "in" / "once.png", tmp_path / "in" / "deadly.png"
    paths[6].rename(once)
    paths[7].rename(deadly)
    good = [*paths[:6], once]

    outcome = run_job(model.path, [tmp_path / "in"], tmp_path / "out", shard_rows=5, workers=two)

    rows = rows_of(tmp_path / "out")
    answered = [row for row in rows if row["error"] is None]
    assert answered == expected_rows(model.path, [(str(p), p.read_bytes()) for p in good])
    (lost,) = [row for row in rows if row["error"] is not None]
    assert lost["id"] == str(deadly)
    assert "ended the process that looked at it, twice" in lost["error"]
    assert outcome.failed == {"ended its process": 1}
    assert outcome.deaths == 3
    assert (outcome.rows, outcome.given_up) == (8, {})


def test_processes_that_cannot_begin_end_the_job(
    model: FeatureGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_work", dying.at_once)
    write_pictures(tmp_path / "in", 1)

    with pytest.raises(ScoreError, match="SIGKILL before it looked at a picture, twice"):
        run_job(model.path, [tmp_path / "in"], tmp_path / "out", workers=two)


def test_what_a_process_refuses_ends_the_job_with_its_words(
    tmp_path: Path, make_model: MakeModel
) -> None:
    write_pictures(tmp_path / "in", 1)
    onnx.save(make_model(), tmp_path / "snow.onnx")  # without a manifest

    with pytest.raises(GraphError, match="manifest"):
        run_job(tmp_path / "snow.onnx", [tmp_path / "in"], tmp_path / "out", workers=two)


def test_an_output_that_refuses_a_part_ends_the_job(model: FeatureGraph, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    (tmp_path / "out" / "part-000000.parquet.d").mkdir(parents=True)

    def workers(setup: Setup) -> ProcessPool:
        (tmp_path / "out").rename(tmp_path / "elsewhere")  # as a disk that is unmounted
        return ProcessPool(setup, 1)

    with pytest.raises(OutputError, match=r"cannot be|cannot be read"):
        run_job(model.path, [tmp_path / "in"], tmp_path / "out", workers=workers)


@pytest.mark.slow
def test_workers_end_when_the_command_is_killed(
    model: FeatureGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "in", 60)
    command = ["-m", "snow_deploy", "score", model.path, "--input", "in", "--output", "out"]
    process = subprocess.Popen(
        [sys.executable, *map(str, command), "--processes", "1", "--shard-rows", "1"],
        cwd=tmp_path,
    )
    try:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "out").glob("part-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        (child,) = _children(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(child)
    done = len(list((tmp_path / "out").glob("part-*")))

    monkeypatch.chdir(tmp_path)
    outcome = run_job(
        model.path, ["in"], "out", shard_rows=1, workers=lambda setup: ProcessPool(setup, 1)
    )

    assert outcome.rows == 60
    assert outcome.scored == 60 - done > 0
    assert len({row["id"] for row in rows_of(tmp_path / "out")}) == 60


def _children(pid: int) -> list[int]:
    """Give the processes that another one started, of those that score."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1:2]
            if parent == [str(pid)] and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
