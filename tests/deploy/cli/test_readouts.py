"""`--readout`: tasks beside the graph's own, in `run` and `predict`."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from snow_deploy.cli import main
from tests.deploy.cli.running import Running
from tests.runtime.readout.graphs import (
    SIZE,
    FeatureGraph,
    feature_graph,
    make_readout,
    manifest_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

CAMERA = "synthetic://?width=64&height=48&fps=0"


@pytest.fixture
def graph(tmp_path: Path) -> FeatureGraph:
    return feature_graph(tmp_path / "snow.onnx")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def folder(tmp_path: Path, graph: FeatureGraph) -> Path:
    """Give a folder of readouts, with other things in it."""
    found = tmp_path / "readouts"
    found.mkdir()
    for name in ("b", "a"):
        make_readout(graph, name).write(found / f"{name}.readout")
    (found / "notes.txt").write_text("none")
    return found


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_predict_answers_them(graph: FeatureGraph, photo: Path, folder: Path) -> None:
    make_readout(graph, "door").write(folder.parent / "door.readout")
    result = call(
        *("predict", graph.path, photo, "--json", "--readout", folder.parent / "door.readout"),
        *("--readout", folder),
    )

    assert result.exit_code == 0, result.output
    (document,) = json.loads(result.stdout)
    assert list(document["tasks"]) == ["food", "door", "a", "b"]


def test_a_folder_without_readouts_is_told(
    graph: FeatureGraph, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "door.readout").mkdir()
    result = call("predict", graph.path, photo, "--json", "--readout", tmp_path / "door.readout")

    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)[0]["tasks"]) == ["food"]
    assert (
        result.stderr
        == f"note: the folder {tmp_path}/door.readout has no readouts (.readout) in it\n"
    )


def test_run_answers_them(graph: FeatureGraph, folder: Path) -> None:
    pytest.importorskip("cv2")
    for tasks, wanted in ((None, ["food", "a", "b"]), ("b", ["b"])):
        chosen = [] if tasks is None else ["--tasks", tasks]
        result = call(
            *("run", graph.path, "--camera", CAMERA, "--frames", 3, "--readout", folder), *chosen
        )

        assert result.exit_code == 0, result.output
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert [list(line["tasks"]) for line in lines] == [wanted] * 3


@pytest.mark.parametrize("command", ["run", "predict"])
def test_one_that_does_not_fit_is_one_line(
    graph: FeatureGraph, photo: Path, tmp_path: Path, command: str
) -> None:
    plain = feature_graph(tmp_path / "plain.onnx", manifest_of(features=False))
    make_readout(graph).write(tmp_path / "door.readout")
    what = ["--camera", CAMERA] if command == "run" else [photo]
    for path, readout, message in (
        (plain.path, "door.readout", "Export it again with 'snow-deploy export --features'"),
        (graph.path, "none.readout", "none.readout does not exist, expected a readout"),
        (graph.path, "snow.onnx", "snow.onnx is damaged or of another kind"),
    ):
        result = call(command, path, *what, "--readout", tmp_path / readout)

        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


@pytest.fixture
def running(graph: FeatureGraph, folder: Path) -> Iterator[Running]:
    pytest.importorskip("cv2")
    started = Running(
        graph.path, "--camera", CAMERA, "--threads", 1, "--readout", folder, "--min-confidence", 0
    )
    yield started
    started.kill()


def until(running: Running, wanted: set[str]) -> None:
    for _ in range(20_000):
        if set(running.line()["tasks"]) == wanted:
            return
    pytest.fail(f"never {wanted}")


def test_they_come_and_go_while_frames_flow(
    running: Running, graph: FeatureGraph, folder: Path
) -> None:
    until(running, {"food", "a", "b"})
    make_readout(graph, "c").write(folder / "c.readout")
    (folder / "a.readout").unlink()
    running.process.send_signal(signal.SIGHUP)
    until(running, {"food", "b", "c"})

    (folder / "d.readout").write_bytes(b"damaged")
    running.process.send_signal(signal.SIGHUP)
    for _ in range(50):
        assert set(running.line()["tasks"]) == {"food", "b", "c"}
    _, said = running.stop(signal.SIGTERM)
    assert running.process.returncode == 0
    assert "loaded anew: food, b, c" in said
