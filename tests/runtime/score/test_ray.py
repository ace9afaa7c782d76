"""Scoring by a Ray that is started here: the same rows, also when actors are killed.

Ray starts in a process of its own, once for all tests: it takes some ten seconds, and its sockets
and files are not to be judged by this suite's filters.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("threadpoolctl")
pytest.importorskip("onnxruntime")
pytest.importorskip("pyarrow")
pytest.importorskip("ray", reason="the extra scale brings Ray")

from snow_runtime.learn.many import LabelledTask, fit_task
from snow_runtime.learn.scored import read_scored_features
from snow_runtime.readout.file import ReadoutFile
from tests.runtime.readout.graphs import feature_graph
from tests.runtime.score.jobs import expected_rows, rows_of, run_job, write_pictures, write_tar

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

SCRIPT = """
import json, os, signal, socket, sys, threading, time
from pathlib import Path
sys.path[:0] = {path!r}
from snow_runtime.score.on_ray import RayActors, begin_ray, end_ray
from snow_runtime.score.options import RayOptions
from snow_runtime.learn.many import LabelledTask, fit_on_ray
from snow_runtime.learn.scored import read_scored_features
from tests.runtime.score.jobs import run_job

def is_mine(path):
    token = "RAY_AUTH_TOKEN=" + os.environ["RAY_AUTH_TOKEN"]
    try:
        told = (path / "environ").read_bytes().split(b"\\0")
        mine = path.name.isdigit() and token.encode() in told
    except OSError:
        return False
    return mine and int(path.name) != os.getpid()

def mine():
    return [path for path in Path("/proc").iterdir() if is_mine(path)]

def target(link):
    try:
        return os.readlink(link)
    except OSError:
        return ""

def listening():
    sockets = {{target(link)[8:-1] for path in mine() for link in (path / "fd").iterdir()}}
    found = set()
    for name, parts in (("tcp", 4), ("tcp6", 16)):
        for line in Path("/proc/net/" + name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1].partition(":")[0])
    return sorted(found)

def outcome(found):
    return {{"rows": found.rows, "failed": dict(found.failed), "given_up": found.given_up}}

def kill_one(out, killed):
    while not killed:
        actors = [p for p in mine() if (p / "cmdline").read_bytes().startswith(b"ray::MapWorker")]
        if actors and len(list(out.glob("part-*"))) > 2:
            os.kill(int(actors[0].name), signal.SIGKILL)
            killed.append(int(actors[0].name))
        time.sleep(0.002)

model, told = Path("snow.onnx").absolute(), {{}}
begin_ray("local")
two = lambda setup: RayActors(setup, RayOptions("local", (2, 2)))
told["same"] = outcome(
    run_job(model, ["few"], "out", shard_rows=4, features=True, workers=two)
)
tasks = [LabelledTask(name, labels) for name, labels in json.loads(Path("tasks.json").read_text())]
scored = read_scored_features("out", tasks[0].labels.keys())
for done in fit_on_ray(scored, tasks):
    done.readout.write(done.name + ".readout")
told["listening"], told["statistics"] = listening(), os.environ["RAY_USAGE_STATS_ENABLED"]
killed = []
thread = threading.Thread(target=kill_one, args=(Path("killed"), killed), daemon=True)
thread.start()
told["killed"] = outcome(run_job(model, ["many"], "killed", shard_rows=5, workers=two))
told["who"] = killed
told["room"] = []
for gpus in (0, 1):
    lacking = lambda setup: RayActors(setup, RayOptions("local", (10**4, 10**4), gpus))
    try:
        run_job(model, ["many"], "room" + str(gpus), shard_rows=1, workers=lacking)
    except Exception as error:
        told["room"].append([type(error).__name__, str(error)])
try:
    run_job(model, ["few"], "refuses", shard_rows=4, workers=lambda setup: blocked(setup))
except Exception as error:
    told["refused"] = [type(error).__name__, str(error)]
end_ray()
Path("told.json").write_text(json.dumps(told))
"""
BLOCKED = """
def blocked(setup):
    os.chmod("refuses", 0o555)
    Path("refuses").rename("moved")
    return two(setup)
"""


def labels_of(paths: list[Path]) -> list[tuple[str, dict[str, str]]]:
    names = [f"few/{path.name}" for path in paths]
    return [
        (f"t{task}", {name: str(n * (task + 2) // 5 % 2) for n, name in enumerate(names)})
        for task in range(3)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    feature_graph(folder / "snow.onnx")
    paths = write_pictures(folder / "few", 9)
    paths[3].write_bytes(b"none")
    write_tar(folder / "few" / "z.tar", [("a.png", paths[0].read_bytes())] * 2)
    (folder / "few" / "zz.tar").write_bytes((folder / "few" / "z.tar").read_bytes()[:700])
    write_pictures(folder / "many", 300)
    (folder / "tasks.json").write_text(json.dumps(labels_of(paths)))
    head, tail = SCRIPT.format(path=sys.path).split("model, told =")
    (folder / "script.py").write_text(f"{head}{BLOCKED}\nmodel, told ={tail}")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return found


def test_rows_are_those_of_one_process(
    folder: Path, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    here = run_job(folder / "snow.onnx", ["few"], "here", shard_rows=4, features=True)

    assert rows_of(folder / "out") == rows_of(folder / "here")
    assert told["same"]["failed"] == here.failed == {"unreadable": 1}
    assert list(told["same"]["given_up"].values()) == list(here.given_up.values())
    assert "zz.tar" in str(here.given_up)


def test_an_actor_that_is_killed_is_replaced(folder: Path, told: dict[str, Any]) -> None:
    expected = [
        (f"many/{path.name}", path.read_bytes()) for path in sorted((folder / "many").iterdir())
    ]

    assert len(told["who"]) == 1
    assert told["killed"] == {"rows": 300, "failed": {}, "given_up": {}}
    assert rows_of(folder / "killed") == expected_rows(folder / "snow.onnx", expected)


def test_it_listens_on_the_loopback_address_only_and_reports_nothing(told: dict[str, Any]) -> None:
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}

    assert told["listening"]
    assert set(told["listening"]) <= loopback
    assert told["statistics"] == "0"


def test_an_output_that_refuses_ends_the_job(told: dict[str, Any]) -> None:
    kind, said = told["refused"]

    assert kind == "ScoreError"
    assert "refuses/" in said
    assert "goes on where it was" in said or "cannot be read" in said


def test_more_actors_than_there_is_room_for_are_refused_and_not_waited_for(
    told: dict[str, Any],
) -> None:
    (kind, cpus), (other, gpus) = told["room"]

    assert kind == other == "ScoreError"
    assert "300 actors need 300 CPUs, and Ray has" in cpus
    assert "GPUs, and Ray has" in gpus
    assert "fewer --actors" in cpus


def test_readouts_that_it_fits_are_those_fitted_here(folder: Path) -> None:
    tasks = json.loads((folder / "tasks.json").read_text())
    scored = read_scored_features(str(folder / "out"), tasks[0][1].keys())

    for name, labels in tasks:
        here = fit_task(scored, LabelledTask(name, labels)).readout
        there = ReadoutFile.read(folder / f"{name}.readout")
        assert here is not None
        assert here.facts == there.facts
        np.testing.assert_array_equal(here.weight, there.weight)
        np.testing.assert_array_equal(here.bias, there.bias)
