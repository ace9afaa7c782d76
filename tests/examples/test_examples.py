"""Every example, run as a reader would run it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from snow_runtime.readout.file import ReadoutFile
from tests.runtime.readout.graphs import feature_graph

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
CAMERA = "synthetic://?width=64&height=48&fps=0"

pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small graphs, one with two tasks and one with one."""
    import onnx
    from onnx import TensorProto, helper

    from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry
    from snow_runtime.self_check import with_self_check

    folder = tmp_path_factory.mktemp("graphs")
    paths = []
    for tasks in (("food", "birds"), ("birds",)):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])
        nodes = [
            helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["features"]),
        ] + [helper.make_node("Identity", ["features"], [task]) for task in tasks]
        outputs = [
            helper.make_tensor_value_info(task, TensorProto.FLOAT, ["batch", 3]) for task in tasks
        ]
        model = helper.make_model(
            helper.make_graph(nodes, "small", [image], outputs),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        manifest = Manifest(
            SourceEntry("small", "a" * 64, 1),
            Preprocessing.for_size(8),
            tuple(TaskEntry(task, task, ("red", "green", "blue")) for task in tasks),
        )
        paths.append(folder / f"{len(tasks)}.onnx")
        onnx.save(with_self_check(model, manifest), paths[-1])
    return paths[0], paths[1]


def run(name: str, *arguments: object) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_all_are_listed_and_run_here() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    listed = set(re.findall(r"`(\w+\.py)`", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    tested = set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text(encoding="utf-8")))

    assert names == listed == tested


def test_camera_app(graphs: tuple[Path, Path]) -> None:
    out = run("camera_app.py", graphs[0], CAMERA, 5)

    assert re.match(r"\d+ ms ago: \{'food': '\w+', 'birds': '\w+'\}", out)


def test_two_cameras(graphs: tuple[Path, Path]) -> None:
    out = run("two_cameras.py", graphs[0], CAMERA, CAMERA, 12)

    assert {line.split()[0] for line in out.splitlines()} == {"door", "yard"}


def test_gpu_frames(graphs: tuple[Path, Path]) -> None:
    lines = run("gpu_frames.py", graphs[0]).splitlines()

    assert lines[0].startswith("NumPy {")
    assert len({line[line.index("{") :] for line in lines}) == 1


def test_hot_swap(graphs: tuple[Path, Path]) -> None:
    out = run("hot_swap.py", *graphs, CAMERA)

    assert re.match(r"food, birds -> birds at frame \d+", out)


def test_new_task(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("threadpoolctl")
    graph = feature_graph(tmp_path / "features.onnx")
    out = run("new_task.py", graph.path, CAMERA, tmp_path / "light.readout")

    assert re.match(r"food -> food, light at frame \d+\n(dark|bright) [01]\.\d\d\n", out)
    assert ReadoutFile.read(tmp_path / "light.readout").labels == ("bright", "dark")


@pytest.fixture
def broker() -> Iterator[int]:
    """Start Debian's mosquitto on a free port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    pytest.importorskip("paho.mqtt.client")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = subprocess.Popen([program, "-p", str(port)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(10)


def test_mqtt_results(graphs: tuple[Path, Path], broker: int) -> None:
    out = run("mqtt_results.py", graphs[0], f"{CAMERA[:-1]}20", f"mqtt://127.0.0.1:{broker}/t", 30)

    answered, lost = map(int, re.findall(r"\d+", out))
    assert answered == 30
    assert lost < 30  # the broker has some; those before it was connected are counted as lost


@pytest.mark.slow
def test_own_loop(tmp_path: Path) -> None:
    from tests.deploy.own_loops.networks import draw_photos

    path = tmp_path / "snow.onnx"
    photos = draw_photos(tmp_path / "photos")
    out = run("own_loop.py", photos, tmp_path / "store", path, "random", 32)

    assert len(re.findall(r"epoch \d  loss \d+\.\d+\n", out)) == 5
    assert "blue, green, red, within" in out
    assert path.is_file()


@pytest.mark.slow
def test_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells are run in order in this process: no kernel, and none of Jupyter's packages."""
    notebook = json.loads((EXAMPLES / "own_loop.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(cells, 1):
        assert not cell["outputs"]
        assert cell["execution_count"] is None
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)  # noqa: S102

    assert notebook["nbformat"] == 4
    assert 0 <= cast("float", names["accuracy"]) <= 1
    assert (tmp_path / "notebook.onnx").is_file()
