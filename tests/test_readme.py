"""The README's own way, typed as it stands there: from photos to engines, a camera and a swap."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from tests.deploy.cli.running import Running
from tests.readme import COLOURS, PATTERNS, SIZE, draw_photos, save_source, steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("cv2")

RTX = importlib.util.find_spec("tensorrt_rtx_bindings") is not None
BUILDS = {"build-engine", "cost"}  # by TensorRT-RTX
# A few dozen pictures decide no half point, whatever INT8 does.
SMALL = {
    "train": f"--recipe steady --epochs 8 --batch-size 16 --image-size {SIZE} --workers 0",
    "calibrate": "--max-drop 25",
    "bench": "--quick --camera-size 160x120 --json",
}
ELSEWHERE = {"resnet50": "resnet18", "imagenet": "source.pth"}
CHANCE = 0.5  # one in three labels is right by chance
NOT_HERE = {"paper", "doctor"}  # hours of training; a GPU and cameras


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Go to a folder with what the README's commands name."""
    path = tmp_path_factory.mktemp("readme")
    draw_photos(path, 16)
    save_source(path / "source.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("SNOW_DEPLOY_CACHE", str(path / "cache"))
        yield path


def type_in(words: tuple[str, ...]) -> str:
    """Run a command of the README, made small; return what it prints."""
    small = SMALL.get(words[0], "").split()
    result = CliRunner().invoke(main, [*(ELSEWHERE.get(word, word) for word in words), *small])
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.stdout


@pytest.mark.slow
@pytest.mark.tensorrt
def test_the_readmes_own_way(folder: Path) -> None:
    printed: dict[tuple[str, ...], str] = {}
    best: dict[str, str] = {}
    for step in steps():
        if step.code:
            assert answers(folder, step.code) == best
        elif step.command == "run":
            cameras(folder, step.words)
        elif step.command == "predict":
            best = top(folder, step.words)
        elif step.command not in NOT_HERE and (RTX or step.command not in BUILDS):
            if "snow.engine" in step.words and not RTX:
                continue
            printed[step.words] = type_in(step.words)

    check(folder, {" ".join(words): text for words, text in printed.items()})


def check(folder: Path, printed: dict[str, str]) -> None:
    """Look at what the commands left behind and said."""
    import onnx

    from snow_runtime.engine.files import read_record
    from snow_runtime.graph.manifest import METADATA_KEY, Manifest

    (text,) = (
        item.value
        for item in onnx.load(folder / "snow.int8.onnx").metadata_props
        if item.key == METADATA_KEY
    )
    manifest = Manifest.from_json(text)
    assert manifest.layout == "fused"
    assert [task.name for task in manifest.tasks] == ["textures", "clothing"]
    assert all(task.metrics["accuracy"] > CHANCE for task in manifest.tasks), manifest.tasks
    assert "no findings" in printed["inspect snow.int8.onnx --int8"]
    calibrated = next(text for words, text in printed.items() if words.startswith("calibrate"))
    assert "100.0% of the multiply-adds in INT8" in calibrated
    benched = json.loads(printed["bench snow.onnx --against snow.int8.onnx"])
    assert len(benched["contenders"]) == 2
    assert {"textures", "clothing", "source"} <= set(printed["inspect store"].split())
    if not RTX:
        return
    assert manifest.quantisation is not None
    for name, precision, targets in (
        ("snow.engine", "fp16", ("sm80", "sm86", "sm89", "sm120")),
        ("snow.int8.engine", "int8", ("sm86", "sm89")),
    ):
        record = read_record(folder / name)
        assert record.achieved.precision == precision
        assert record.achieved.convolutions == manifest.quantisation.layers
        assert record.achieved.share == 1
        assert record.options.targets == targets
    assert "compute layers" in printed["cost snow.onnx --target sm86"]
    assert "fp16" in printed["inspect snow.engine"]


def top(folder: Path, words: tuple[str, ...]) -> dict[str, str]:
    """Predict in a process of its own; return each task's best label."""
    command = [sys.executable, "-m", "snow_deploy", *words, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    (photo,) = json.loads(done.stdout)

    best = {name: task["top"][0]["label"] for name, task in photo["tasks"].items()}
    assert best["textures"] in PATTERNS
    assert best["clothing"] in COLOURS
    return best


def answers(folder: Path, code: str) -> dict[str, str]:
    """Run the README's Python, which needs no PyTorch; return each task's label."""
    code += "\nimport sys\nassert 'torch' not in sys.modules\n"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)

    said = [line.split() for line in done.stdout.splitlines()]
    assert all(0 < float(probability) <= 1 for _, _, probability in said)
    return {name: label for name, label, _ in said}


def cameras(folder: Path, words: tuple[str, ...]) -> None:
    """Run on a folder and a drawn camera, look at the page, and exchange the model by SIGHUP."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    places = {
        "door=rtsp://camera/stream": "door=photos/clothing/red",
        "yard=/dev/video0": "yard=synthetic://?width=64&height=48&fps=25",
        "8080": port,
    }
    assert set(places) < set(words)
    running = Running(*(places.get(word, word) for word in words[1:]))
    try:
        photos = len(list((folder / "photos/clothing/red").iterdir()))
        seen = [line["tasks"]["clothing"]["label"] for line in of_camera(running, "door", photos)]
        assert seen.count("red") > CHANCE * photos
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
            assert b'snow_camera_connected{camera="yard"} 1' in page.read()

        type_in(("export", "--tasks", "textures", "--store", "store", "-o", "other.onnx"))
        kept = (folder / "snow.onnx").read_bytes()
        (folder / "other.onnx").replace(folder / "snow.onnx")
        running.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while set(running.line()["tasks"]) != {"textures"}:
            assert time.monotonic() < deadline
        _, said = running.stop(signal.SIGTERM)
        assert "loaded anew: textures" in said
        assert running.process.returncode == 0
        (folder / "snow.onnx").write_bytes(kept)
    finally:
        running.kill()


def of_camera(running: Running, name: str, count: int) -> list[dict[str, Any]]:
    """Read lines until there are so many of one camera."""
    lines: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while len(lines) < count:
        assert time.monotonic() < deadline, f"{len(lines)} of {count} lines"
        line = running.line()
        lines += [line] if line["camera"] == name else []
    return lines
