"""Inputs that are no square, by the commands: trained, fitted, exported, INT8 and answered."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import snow_runtime
from snow_deploy.cli import main
from snow_deploy.training.store import Store
from snow_runtime.bench import run as bench
from snow_runtime.bench.startup import Start
from snow_runtime.graph.onnx_file import read_graph
from tests.deploy.cli.test_train_own_source import NET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = "a_network_for_rectangles"
HEIGHT, WIDTH = 36, 64


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def run(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Train tasks of every scheme at 36 x 64 on frames of 72 x 128 whose edges tell the class."""
    place = tmp_path_factory.mktemp("rectangles")
    net = NET.replace("nn.ReLU()", "nn.BatchNorm2d(8), nn.ReLU()", 1)  # which `mp` needs
    (place / f"{MODULE}.py").write_text(net, encoding="utf-8")
    rng = np.random.default_rng(0)
    for number, label in enumerate(("dark", "light")):
        (place / "frames" / label).mkdir(parents=True)
        for index in range(40):
            frame = rng.integers(100, 140, (72, 128, 3), dtype=np.uint8)
            frame[:, :6] = 255 * number  # at the left edge, which a crop would lose
            Image.fromarray(frame).save(place / "frames" / label / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        data = ("--data", f"imagefolder:{place / 'frames'}", "--workers", 0)
        size = ("--image-size", f"{HEIGHT}x{WIDTH}", "--crop-share", 1, "--source")
        train = ("train", *data, *size, f"{MODULE}:small")
        steps = ("--epochs", 1, "--batch-size", 12, "--no-baseline", "--precision", "fp32")
        narrow = ("--k", 4, "--width", 4, "--sweep", "scheme=snow,fo,ft,mp,pn")
        run(*train, *steps, *narrow, "--task", "edge")
        run(*train, "--scheme", "readout", "--task", "fitted")
        run(*train, *steps, "--scheme", "auto", "--delta", "never", "--task", "chosen")
        run(*train, *steps, "--scheme", "lf", "--task", "lf")
        run("export", "-o", "g.onnx", "--features", "--input", "uint8", "--colour", "rgb")
        yield place
    sys.modules.pop(MODULE, None)


def picture(folder: Path, label: str = "light") -> Image.Image:
    return Image.open(folder / "frames" / label / "0.png")


def test_the_graph_says_the_size_and_answers_frames_of_it(folder: Path) -> None:
    with snow_runtime.load(folder / "g.onnx", providers=["CPUExecutionProvider"]) as model:
        prepared = model.manifest.preprocessing
        model.warmup()
        model.self_check()
        seen = model.prepare([picture(folder)], "rgb").batch
        answers = [
            model.batch([picture(folder, label)])[0]["fitted"] for label in ("dark", "light")
        ]
    assert (prepared.image_size, prepared.resize_size) == ((HEIGHT, WIDTH),) * 2
    assert seen.shape == (1, HEIGHT, WIDTH, 3)
    assert seen[0, :, :2].min() > 200  # the whole frame: its edge too
    assert [answer.label for answer in answers] == ["dark", "light"]


def test_the_store_keeps_the_size_and_the_share(folder: Path) -> None:
    store = Store(folder / "store")
    assert set(store.tasks()) >= {
        *(f"edge-scheme_{each}" for each in ("snow", "fo", "ft", "mp", "pn")),
        "lf",
        "fitted",
        "chosen",
    }
    for name in store.tasks():
        record = store.load_task(name)
        assert record.options.image_size == record.preprocessing.image_size == (HEIGHT, WIDTH)
        assert record.options.crop_share == 1
        assert record.samples.shape[1:] == (HEIGHT, WIDTH, 3)
    assert store.source_weights().image_size == 48  # as the network says


def test_bench_draws_frames_for_it_and_says_the_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Start(1.5, 0.25, 10_000_000, 30_000_000, 40_000_000)
    monkeypatch.setattr(bench, "start_once", lambda *_: start)
    small = ("--duration", 0.2, "--camera-size", "48x32", "--threads", 1, "--json")
    result = invoke("bench", folder / "g.onnx", *small)
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(result.stdout)["contenders"]
    assert found["image_size"] == [HEIGHT, WIDTH]
    assert found["calls"] > 0
    assert found["stages"]["preprocess"]["p50_ms"] > 0


@pytest.mark.usefixtures("folder")
def test_what_the_commands_say_of_it() -> None:
    told = run("inspect", "g.onnx")
    assert "covering 36 x 64 (bicubic), centre 36 x 64" in told
    assert "36 x 64 px" in told
    found: dict[str, Any] = json.loads(run("inspect", "store", "--json"))
    assert found["preprocessing"]["lf"]["image_size"] == [HEIGHT, WIDTH]
    assert {tuple(share["image_size"]) for share in found["shares"]} == {(HEIGHT, WIDTH)}


def test_int8_of_it(folder: Path) -> None:
    run("export", "-o", "f.onnx", "--tasks", "edge-scheme_snow")
    data = ("--data", f"imagefolder:{folder / 'frames'}", "--samples", 16, "--method", "minmax")
    result = invoke("calibrate", "f.onnx", *data, "-o", "i.onnx", "--max-drop", "100")
    assert result.exit_code == 0, result.output
    with snow_runtime.load(folder / "i.onnx", providers=["CPUExecutionProvider"]) as model:
        model.self_check()
        assert model.manifest.precision == "int8"
        assert model.manifest.preprocessing.image_size == (HEIGHT, WIDTH)
    assert invoke("inspect", "--int8", "i.onnx").exit_code == 0


def test_a_readout_fitted_on_the_device(folder: Path) -> None:
    run("fit", folder / "frames", "--model", "g.onnx", "-o", "door.readout")
    photo = folder / "frames" / "light" / "0.png"
    out = run("predict", "g.onnx", photo, "--readout", "door.readout")
    (line,) = (each for each in out.splitlines() if each.strip().startswith("door "))
    assert line.split()[1] == "light"


def test_the_source_alone_is_prepared_as_its_tasks(folder: Path) -> None:
    run("export", "--source-only", "--features", "-o", "s.onnx")
    run("export", "--source-only", "--features", "-o", "t.onnx", "--image-size", "64x48")
    manifests = [read_graph(folder / name).manifest for name in ("s.onnx", "t.onnx")]
    one, two = (found.preprocessing for found in manifests if found is not None)
    assert (one.image_size, one.resize_size) == ((HEIGHT, WIDTH),) * 2
    assert (two.image_size, two.resize_size) == ((64, 48), (85, 64))  # over the network's own 0.75


def test_tasks_of_another_size_or_share_are_no_one_graph(folder: Path) -> None:
    data = ("--data", f"imagefolder:{folder / 'frames'}", "--workers", 0)
    train = ("train", *data, "--scheme", "readout", "--task")
    run(*train, "square", "--image-size", "48x48")
    run(*train, "cropped", "--image-size", f"{HEIGHT}x{WIDTH}")

    for other, said in (
        ("square", "at 36 x 64 and 48 pixels"),
        ("cropped", "36 x 64 pixels, of pictures resized to 36 x 64 and 48 x 85;"),
    ):
        refused = invoke("export", "-o", "no.onnx", "--tasks", f"fitted,{other}")
        assert refused.exit_code == 1
        assert said in refused.output.replace("\n", " ")
        assert not (folder / "no.onnx").exists()
    ambiguous = invoke("export", "--source-only", "-o", "no.onnx")
    assert ambiguous.exit_code == 1
    assert "Say which with --image-size" in ambiguous.output
    (folder / "store/tasks/square.safetensors").unlink()
    ambiguous = invoke("export", "--source-only", "-o", "no.onnx")
    assert "resized to 36 x 64 and 48 x 85" in ambiguous.output
    assert "Say which with --crop-share" in ambiguous.output
    run("export", "--source-only", "-o", "yes.onnx", "--crop-share", "1")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("180x", "is no size"),
        ("x320", "is no size"),
        ("1e3", "is no size"),
        ("-64", "is no size"),
        ("180x320x3", "is no size"),
        ("31x320", "expected 32 to 16384"),
        ("180x99999", "expected 32 to 16384"),
    ],
)
def test_what_is_no_size_is_refused(given: str, said: str) -> None:
    result = invoke(
        *("train", "--task", "t", "--data", "demo:shape", "--image-size", given),
    )
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output
