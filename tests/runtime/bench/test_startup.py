from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_runtime.bench import startup
from snow_runtime.bench.errors import BenchError
from snow_runtime.bench.options import BenchOptions
from snow_runtime.bench.probe import measure_start
from snow_runtime.bench.startup import Start, start_once, summarise_starts
from snow_runtime.errors import GraphError

if TYPE_CHECKING:
    from tests.runtime.conftest import Graph, MakeGraph


def test_a_start_in_a_process_of_its_own(graph: Graph) -> None:
    found = start_once(graph.path, BenchOptions((graph.path,), camera=(40, 30), threads=1))

    assert found.load_s > 0
    assert found.first_answer_s > 0
    if Path("/proc/self/status").exists():
        assert found.before_bytes is not None
        assert found.loaded_bytes is not None
        assert found.peak_bytes is not None
        assert 0 < found.before_bytes < found.loaded_bytes <= found.peak_bytes


def test_the_process_is_fresh(graph: Graph) -> None:
    # getrusage would tell of this process's memory in the child as well.
    ballast = np.ones(256 << 20, np.uint8)
    found = start_once(graph.path, BenchOptions((graph.path,), camera=(40, 30), threads=1))

    if found.peak_bytes is not None:
        assert found.peak_bytes < ballast.nbytes


def test_modules_in_the_users_folder_are_not_imported(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "numpy", "snow_runtime"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    relative = Path(graph.path.name)

    assert start_once(relative, BenchOptions((relative,), camera=(40, 30))).load_s > 0


def test_what_the_process_raises_is_raised_here(make_graph: MakeGraph, tmp_path: Path) -> None:
    empty = tmp_path / "empty.onnx"
    empty.touch()
    with pytest.raises(GraphError, match="the file is empty"):
        start_once(empty, BenchOptions((empty,)))
    fixed = make_graph(input_shape=(2, 3, 8, 8)).path
    with pytest.raises(BenchError, match=r"takes 2 pictures a call, not 1"):
        start_once(fixed, BenchOptions((fixed,)))


def test_a_process_that_dies_is_told_of(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    options = BenchOptions((graph.path,))
    dies = "import os, sys; sys.stderr.write('out of luck'); sys.stderr.flush(); os.abort()"
    monkeypatch.setattr(startup, "_PROBE", dies)
    with pytest.raises(BenchError, match=r"graph\.onnx ended with code -6.*out of luck"):
        start_once(graph.path, options)
    monkeypatch.setattr(startup, "_PROBE", "print('{no document'); print('[]')")
    with pytest.raises(BenchError, match=r"ended with code 0.*it wrote nothing"):
        start_once(graph.path, options)


def test_a_process_that_hangs_is_ended(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "_PROBE", "import time; time.sleep(30)")
    monkeypatch.setattr(startup, "_TIMEOUT_S", 0.2)

    began = time.monotonic()
    with pytest.raises(BenchError, match=r"starts graph\.onnx gave no answer in 0\.2 s"):
        start_once(graph.path, BenchOptions((graph.path,)))
    assert time.monotonic() - began < 10


def test_what_libraries_print_does_not_get_in_the_way(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.dumps(Start(1.0, 2.0).to_dict())
    noisy = f"print('loading'); print('''{document}'''); print('{{unloaded}}')"
    monkeypatch.setattr(startup, "_PROBE", noisy)

    assert start_once(graph.path, BenchOptions((graph.path,))) == Start(1.0, 2.0)


def test_the_probe_runs_with_the_options_that_it_is_given(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from snow_runtime.bench import probe

    options = BenchOptions((graph.path,), 2, 1, camera=(31, 17), colour="rgb", seed=9)
    seen = []

    def watched(options: BenchOptions) -> dict[str, object]:
        seen.append(options)
        return {}

    monkeypatch.setattr(probe, "measure_start", watched)
    form = json.dumps({**options.to_dict(), "model": str(graph.path)})
    monkeypatch.setattr(sys, "argv", ["probe", form])
    probe.main()

    assert seen == [options]
    assert capsys.readouterr().out == "\n{}\n"


def test_the_probe_measures_in_this_process_as_well(graph: Graph, tmp_path: Path) -> None:
    copy = shutil.copy(graph.path, tmp_path / "copy.onnx")
    document = measure_start(BenchOptions((Path(copy),), batch=3, camera=(20, 20)))

    assert set(document) == set(Start(0, 0).to_dict())


def test_starts_are_summarised_by_their_medians() -> None:
    starts = [
        Start(1.0, 0.5, 100, 300, 400),
        Start(3.0, 0.1, 110, 300, 450),
        Start(2.0, 0.2, 100, 320, 500),
    ]

    assert summarise_starts(starts) == {
        "starts": 3,
        "load_s": 2.0,
        "first_answer_s": 0.2,
        "total_s": 2.2,
        "before_bytes": 100,
        "loaded_bytes": 300,
        "peak_bytes": 450,
        "loaded_over_before_bytes": 200,  # of 200, 190, 220
        "peak_over_before_bytes": 340,  # of 300, 340, 400
    }


def test_no_start_and_no_memory_are_none() -> None:
    assert summarise_starts([]) is None
    found = summarise_starts([Start(1.0, 0.5)])
    assert found is not None
    assert (found["peak_bytes"], found["peak_over_before_bytes"]) == (None, None)
