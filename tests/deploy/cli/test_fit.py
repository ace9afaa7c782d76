"""`snow-deploy fit`: from folders of photos to a readout that answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from snow_deploy.cli import main
from snow_runtime.readout.file import ReadoutFile
from tests.runtime.readout.graphs import FeatureGraph, feature_graph, manifest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

pytest.importorskip("scipy")
pytest.importorskip("threadpoolctl")
COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (200, 50, 40)}


def draw(folder: Path, each: int) -> Path:
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for number in range(each):
            pixels = (np.array(colour) + rng.normal(0, 25, (12, 10, 3))).clip(0, 255).astype("u1")
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw(tmp_path / "photos", 6)


@pytest.fixture
def graph(tmp_path: Path) -> FeatureGraph:
    return feature_graph(tmp_path / "snow.onnx")


def fit(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fit", *map(str, arguments)])


def left(folder: Path) -> set[str]:
    """Name what a fit may have left behind."""
    return {path.name for path in folder.rglob("*") if path.suffix in {".readout", ".tmp"}}


def test_from_photos_to_answers(graph: FeatureGraph, photos: Path, tmp_path: Path) -> None:
    result = fit(photos, "--model", graph.path, "-o", tmp_path / "colour.readout")

    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "task colour: 18 photos, blue 6, green 6, red 6"
    assert lines[1].startswith("accuracy 100.0% ± 0.0% (standard error), by cross-validation")
    assert lines[2].startswith("8 of 8 features, penalty ")
    assert re.fullmatch(r"temperature \d+\.\d{3}", lines[3])
    assert lines[4].startswith("looking at them ")
    assert re.fullmatch(rf"{tmp_path}/colour.readout  \d\.\d kB", lines[5])

    photo = photos / "green" / "3.png"
    answered = CliRunner().invoke(
        main,
        ["predict", str(graph.path), str(photo), "--json", "--readout", str(tmp_path)],
    )
    (document,) = json.loads(answered.stdout)
    assert document["tasks"]["colour"]["label"] == "green"


def test_json_and_a_name_and_a_folder_for_each_class(
    graph: FeatureGraph, photos: Path, tmp_path: Path
) -> None:
    folders = [photos / label for label in ("red", "blue")]
    output = tmp_path / "new" / "folder" / "x.readout"
    result = fit(
        *folders, "--model", graph.path, "-o", output, "--name", "door", "--threads", 1, "--json"
    )

    document = json.loads(result.stdout)
    assert document.keys() >= {"accuracy", "standard_error", "penalty", "looking_s", "fitting_s"}
    assert document["task"] == "door"
    assert document["pictures"] == {"blue": 6, "red": 6}
    assert document["size_bytes"] == output.stat().st_size
    assert (document["features"], document["features_of"]) == (8, 8)
    assert ReadoutFile.read(output).name == "door"


def test_it_imports_no_torch(graph: FeatureGraph, photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom snow_deploy.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "assert not {'torch', 'torchvision', 'onnx', 'lightning'} & set(sys.modules)\n"
    )
    words = ["fit", photos, "--model", graph.path, "-o", tmp_path / "x.readout"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_remarks_are_warnings(graph: FeatureGraph, photos: Path, tmp_path: Path) -> None:
    (photos / "red" / "0.png").write_text("none")
    (photos / "red" / "notes.txt").write_text("none")
    (photos / "blue" / "x.png").write_bytes((photos / "green" / "1.png").read_bytes())
    result = fit(photos, "--model", graph.path, "-o", tmp_path / "x.readout")

    assert result.exit_code == 0
    assert "photos, blue 7, green 6, red 5" in result.stdout
    warned = result.stderr.splitlines()
    assert len(warned) == 3
    assert all(line.startswith("warning: ") for line in warned)
    assert ".txt file" in warned[0]
    assert "1 picture could not be read" in warned[1]
    assert "there under different labels" in warned[2]


def spoilt(photos: Path, fault: str) -> None:
    red = sorted((photos / "red").iterdir())
    if fault == "one photo":
        for path in red[1:]:
            path.unlink()
    elif fault == "one readable":
        for path in red[1:]:
            path.write_text("none")
    else:
        for path in photos.rglob("*.png"):
            path.write_bytes(path.read_bytes()[:30])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("one photo", "Too few pictures: red (1), expected 2 or more of each class"),
        ("one readable", "Too few pictures: red (1), expected 2 or more of each class"),
        ("none readable", "None of the 18 pictures could be read"),
    ],
)
def test_photos_that_are_no_use_are_one_line(
    graph: FeatureGraph, photos: Path, tmp_path: Path, fault: str, message: str
) -> None:
    spoilt(photos, fault)
    result = fit(photos, "--model", graph.path, "-o", tmp_path / "x.readout")

    assert result.exit_code == 1
    assert message in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--model": "plain.onnx"}, "export --features"),
        ({"--model": "none.onnx"}, "there is no such file"),
        ({"--model": "nan.onnx"}, "are NaN, infinite or beyond half precision"),
        ({"-o": "snow.onnx/new/x.readout"}, "snow.onnx is no folder. Name another place"),
        ({"--name": "Door"}, "A task cannot be called 'Door'"),
        ({"-o": "Door 1.readout"}, "A task cannot be called 'Door 1'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    graph: FeatureGraph,
    photos: Path,
    tmp_path: Path,
    change: dict[str, str],
    message: str,
) -> None:
    feature_graph(tmp_path / "plain.onnx", manifest_of(features=False))
    feature_graph(tmp_path / "nan.onnx", scale=float("nan"))
    options = {"--model": graph.path, "-o": tmp_path / "x.readout"}
    for name, value in change.items():
        options[name] = tmp_path / value if name != "--name" else value  # type: ignore[assignment]
    result = fit(photos, *(part for pair in options.items() for part in pair))

    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert left(tmp_path) == set()


def test_another_ending_is_refused(graph: FeatureGraph, photos: Path, tmp_path: Path) -> None:
    result = fit(photos, "--model", graph.path, "-o", tmp_path / "x.onnx")

    assert result.exit_code == 2
    assert "expected one that ends in .readout" in result.stderr


def test_without_scipy_the_extra_is_named(
    graph: FeatureGraph, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    result = fit(photos, "--model", graph.path, "-o", tmp_path / "x.readout")

    assert result.exit_code == 1
    assert "learn]" in result.stderr
    assert left(tmp_path) == set()


def test_ctrl_c_and_a_full_disk_leave_the_old_file(
    graph: FeatureGraph,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    mount_disk: Callable[[str], Path],
) -> None:
    disk = mount_disk("64k")
    output = disk / "x.readout"
    words = (photos, "--model", graph.path, "-o", output)
    assert fit(*words).exit_code == 0
    before = output.read_bytes()
    (photos / "red" / "5.png").unlink()  # another fit's file is another one

    (disk / "rest").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
    result = fit(*words)
    assert result.exit_code == 1
    assert "x.readout cannot be written: " in result.stderr
    (disk / "rest").unlink()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snow_runtime.readout.fit.fit_readout", interrupted)
    monkeypatch.setattr("snow_runtime.learn.fit.fit_readout", interrupted)
    result = fit(*words)
    assert result.exit_code == 130
    assert output.read_bytes() == before
    assert [path.name for path in disk.iterdir()] == ["x.readout"]


def test_a_name_that_the_graph_has_itself_is_warned_of(
    graph: FeatureGraph, photos: Path, tmp_path: Path
) -> None:
    warned = fit(photos, "--model", graph.path, "--name", "food", "-o", tmp_path / "a.readout")
    assert warned.exit_code == 0, warned.output
    assert "the graph has a task 'food' of its own" in warned.stderr
    other = fit(photos, "--model", graph.path, "-o", tmp_path / "colour.readout")
    assert "of its own" not in other.stderr
