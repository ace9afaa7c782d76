"""`run --collect`: what is kept, what it needs, and that nothing is kept without it."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from snow_deploy.cli import main
from snow_deploy.cli.byte_size import ByteSize
from snow_runtime.collection.collection import Collection
from tests.deploy.cli.running import Running
from tests.runtime.readout.graphs import feature_graph, manifest_of

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

pytest.importorskip("cv2")
CAMERA = "door=synthetic://?width=64&height=48&fps=0"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return feature_graph(tmp_path / "graph.onnx").path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def test_random_frames_are_kept_and_counted(tmp_path: Path, graph: Path) -> None:
    folder = tmp_path / "kept"
    arguments = ["--collect", folder, "--collect-random", 1, "--collect-hourly", 1_000_000]
    result = run(graph, "--camera", CAMERA, "--frames", 30, "--output", "none", *arguments)
    assert result.exit_code == 0, result.stderr
    with Collection.open(folder) as kept:
        pictures = kept.pictures()
    assert pictures
    assert f"collected: {len(pictures)}\n" in result.stderr
    assert {each.reason for each in pictures} == {"random"}
    assert {(each.width, each.height, each.features_width) for each in pictures} == {(64, 48, 8)}


def test_without_it_nothing_is_kept(tmp_path: Path, graph: Path) -> None:
    before = set(tmp_path.rglob("*"))
    result = run(graph, "--camera", CAMERA, "--frames", 3, "--output", "none")
    assert result.exit_code == 0, result.stderr
    assert set(tmp_path.rglob("*")) == before


def test_masks_and_numbers_of_a_file(tmp_path: Path, graph: Path) -> None:
    path = tmp_path / "snow.toml"
    path.write_text(
        f"""
model = "{graph}"
frames = 9
output = "none"
[cameras.door]
address = "{CAMERA.partition("=")[2]}"
[cameras.door.masks.left]
box = [0, 0, 0.5, 1]
[collect]
folder = "{tmp_path / "kept"}"
random = 1
hourly = 1000000
features = false
""",
        encoding="utf-8",
    )
    result = run("--config", path)
    assert result.exit_code == 0, result.stderr
    with Collection.open(tmp_path / "kept") as kept:
        shown = kept.pictures()[0]
        image = np.asarray(Image.open(io.BytesIO(kept.jpeg(shown.id))))
    assert shown.features_width is None
    assert image[:, :24].max() < 30
    assert image[:, 40:].max() > 60


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("box = [0, 0, 1]", "left, top, right, bottom"),
        ("box = [0.5, 0, 0.5, 1]", "left, top, right, bottom"),
        ("box = [0, 0, 1, 2]", "three points"),
        ("polygon = [[0, 0], [1, 1]]", "three points"),
        ("", "a box or a polygon"),
        ("box = [0, 0, 1, 1]\npolygon = [[0, 0], [1, 1], [0, 1]]", "and not both"),
        ('box = "left"', "a list of numbers"),
        ("circle = 3", "no such key"),
    ],
)
def test_a_mask_that_is_wrong_is_said_with_its_line(tmp_path: Path, mask: str, said: str) -> None:
    path = tmp_path / "snow.toml"
    text = f'[cameras.door]\naddress = "synthetic://"\n[cameras.door.masks.left]\n{mask}\n'
    path.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(main, ["config", "check", str(path)])
    assert result.exit_code == 1
    assert said in result.stdout
    assert f"{path}: line {3 if mask == '' or ' = [' in mask else 4}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--collect-hourly", 9], "--collect-hourly is for --collect"),
        (["--mask-faces", "faces.onnx"], "--mask-faces is for --collect"),
        (["--no-collect-features"], "--collect-features is for --collect"),
        (["--collect", "kept", "--collect-bytes", "much"], "'much' is no size"),
        (["--collect", "kept", "--collect-hourly", 1], "not in the range"),
        (["--collect", "kept", "--mask-faces", "none.onnx"], "no model of faces none.onnx"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    graph: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], said: str
) -> None:
    monkeypatch.chdir(graph.parent)
    result = run(graph, "--camera", CAMERA, "--frames", 1, *arguments)
    assert result.exit_code != 0
    assert said in result.stderr
    assert not (graph.parent / "kept").exists()


def test_a_graph_without_features_says_how_to_export_it(tmp_path: Path) -> None:
    graph = feature_graph(tmp_path / "plain.onnx", manifest_of(features=False)).path
    result = run(graph, "--camera", CAMERA, "--frames", 1, "--collect", tmp_path / "kept")
    assert result.exit_code == 1
    assert "snow-deploy export --features" in result.stderr
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5 GiB", 3 << 29), ("500m", 5 * 10**8), ("1024", 1024), ("7b", 7)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert ByteSize().convert(text, None, None) == size


def test_masks_of_a_camera_that_another_name_takes_the_place_of_are_not_dropped(
    tmp_path: Path, graph: Path
) -> None:
    path = tmp_path / "snow.toml"
    path.write_text(
        'output = "none"\n[cameras.door]\naddress = "synthetic://"\n'
        "[cameras.door.masks.left]\nbox = [0.0, 0.0, 0.5, 1.0]\n",
        encoding="utf-8",
    )
    record = ["--record", str(tmp_path / "seen")]
    for given, more, code in (
        ("yard=synthetic://?seed=1", record, 2),
        ("yard=synthetic://?seed=1", [], 0),  # nothing is stored
        ("door=synthetic://?seed=1", record, 0),
    ):
        arguments = ["run", str(graph), "--config", str(path), "--camera", given, "--frames", "1"]
        result = CliRunner().invoke(main, [*arguments, *more])
        assert result.exit_code == code, result.output
        told = "masks door, and the camera yard is none of its own" in result.output
        assert told == (code == 2)


def test_faces_may_be_masked_in_a_recording_alone(tmp_path: Path, graph: Path) -> None:
    arguments = ["run", str(graph), "--camera", "door=synthetic://", "--frames", "1"]
    arguments += ["--output", "none", "--mask-faces", str(tmp_path / "none.onnx")]
    alone = CliRunner().invoke(main, arguments)
    assert alone.exit_code == 2
    assert "--mask-faces is for --collect or --record" in alone.output
    recorded = CliRunner().invoke(main, [*arguments, "--record", str(tmp_path / "seen")])
    assert recorded.exit_code == 1
    assert "none.onnx" in recorded.output


def test_masks_that_change_need_the_cameras_anew(tmp_path: Path) -> None:
    from snow_deploy.cli.run import command
    from snow_deploy.cli.run_plan import plan_of

    plans = []
    for box in ("[0, 0, 0.5, 1]", "[0, 0, 1, 1]"):
        path = tmp_path / "snow.toml"
        text = f'[cameras.door]\naddress = "synthetic://"\n[cameras.door.masks.left]\nbox = {box}\n'
        path.write_text(text, encoding="utf-8")
        context = command.make_context("run", ["--config", str(path)])
        with context.scope():
            plans.append(plan_of(context))
    assert plans[0].changes_beyond(plans[1]) == ["masks"]
    assert plans[0].changes_beyond(plans[0]) == []


@pytest.mark.slow
def test_a_killed_run_leaves_whole_pictures_and_the_next_one_goes_on(
    tmp_path: Path, graph: Path
) -> None:
    folder = tmp_path / "kept"
    options = ["--collect", folder, "--collect-random", 1, "--collect-hourly", 10**6]
    counts = []
    for wait_s in (0.3, 0.7):
        running = Running(graph, "--camera", CAMERA.replace("fps=0", "fps=60"), *options)
        try:
            running.line()
            time.sleep(wait_s)
        finally:
            running.kill()
        with Collection.open(folder) as kept:
            pictures = kept.pictures(limit=10**6)
            assert all(kept.jpeg(each.id) for each in pictures)
            assert len(list(folder.glob("pictures/*/*"))) == len({e.sha256 for e in pictures})
            assert kept.features([each.id for each in pictures]).shape == (len(pictures), 8)
            counts.append(len(pictures))
    assert 0 < counts[0] < counts[1]
