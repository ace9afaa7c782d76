"""What the documents' commands must have left behind and said, and a model exchanged for real."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from snow_deploy.cli import main
from tests.deploy.cli.running import Running
from tests.docs.photos import COLOURS, PATTERNS
from tests.docs.sandbox import MADE_BY, RTX

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.sandbox import Sandbox

CHANCE = 0.5  # one in three labels is right by chance


def check_what_was_made(sandbox: Sandbox) -> None:
    """Look at the graphs and engines, and at what was said of them."""
    import onnx

    from snow_runtime.engine.files import read_record
    from snow_runtime.graph.manifest import METADATA_KEY, Manifest

    folder = sandbox.folder
    (text,) = (
        item.value
        for item in onnx.load(folder / "snow.int8.onnx").metadata_props
        if item.key == METADATA_KEY
    )
    manifest = Manifest.from_json(text)
    assert manifest.layout == "fused"
    assert [task.name for task in manifest.tasks] == ["textures", "clothing"]
    assert all(task.metrics["accuracy"] > CHANCE for task in manifest.tasks), manifest.tasks
    calibrated = sandbox.printed[tuple(MADE_BY["snow.int8.onnx"][0].split())]
    assert "100.0% of the multiply-adds in INT8" in calibrated
    if not RTX:
        return
    assert manifest.quantisation is not None
    for name, precision in (("snow.engine", "fp16"), ("snow.int8.engine", "int8")):
        record = read_record(folder / name)
        assert record.achieved.precision == precision
        assert record.achieved.convolutions == manifest.quantisation.layers
        assert record.achieved.share == 1


def check_answers(predicted: str, by_python: str) -> None:
    """Compare what `predict --json` and the README's Python say of photo.jpg, red checks."""
    (photo,) = json.loads(predicted)
    best = {name: task["top"][0]["label"] for name, task in photo["tasks"].items()}
    assert best["textures"] in PATTERNS
    assert best["clothing"] in COLOURS

    said = [line.split() for line in by_python.splitlines()]
    assert all(0 < float(probability) <= 1 for _, _, probability in said)
    assert {name: label for name, label, _ in said} == best


def check_cameras(folder: Path) -> None:
    """Run on a folder and a drawn camera, look at the page, and exchange the model by SIGHUP."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    door = "door=photos/clothing/red"
    yard = "yard=synthetic://?width=64&height=48&fps=25"
    running = Running("snow.onnx", "--camera", door, "--camera", yard, "--port", port)
    try:
        photos = len(list((folder / "photos/clothing/red").iterdir()))
        seen = [line["tasks"]["clothing"]["label"] for line in _lines(running, "door", photos)]
        assert seen.count("red") > CHANCE * photos
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
            assert b'snow_camera_connected{camera="yard"} 1' in page.read()

        other = ["export", "--tasks", "textures", "--store", "store", "-o", "other.onnx"]
        assert CliRunner().invoke(main, other).exit_code == 0
        (folder / "other.onnx").replace(folder / "snow.onnx")
        running.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while set(running.line()["tasks"]) != {"textures"}:
            assert time.monotonic() < deadline
        _, said = running.stop(signal.SIGTERM)
        assert "loaded anew: textures" in said
        assert running.process.returncode == 0
    finally:
        running.kill()


def _lines(running: Running, name: str, count: int) -> list[dict[str, Any]]:
    """Read lines until there are so many of one camera."""
    lines: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while len(lines) < count:
        assert time.monotonic() < deadline, f"{len(lines)} of {count} lines"
        line = running.line()
        lines += [line] if line["camera"] == name else []
    return lines
