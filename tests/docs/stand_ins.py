"""Small things in the place of what a test has not: cameras, large networks, data sets, hours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from snow_deploy.data.spec import parse_spec
from tests.docs.photos import SIZE

if TYPE_CHECKING:
    from tests.docs.command_line import CommandLine

# The camera's place is taken by a folder of pictures, so that a command ends by itself.
FRAMES = "frames"
KNOWN = frozenset({"textures", "clothing"})  # trained to be right more often than by chance
_CAMERA = re.compile(r"""(?:rtsps?|https?|csi|v4l2|synthetic)://[^\s"']*|/dev/video\d+""")
_NAMED = re.compile(r"(?:[\w-]+=)?")
_OF_CAMERAS = ("--tls-fingerprint", "--tls-host")
_OF_MQTT = (
    *("--mqtt", "--mqtt-ca", "--mqtt-cert", "--mqtt-key", "--mqtt-retain"),
    *("--mqtt-switches", "--mqtt-discovery"),
)
_OF_WEBHOOKS = ("--webhook", "--webhook-header", "--webhook-ca", "--webhook-queue")


def put_stand_ins(line: CommandLine) -> None:
    """Change a command so that it runs here, in seconds, and ends."""
    line.change("--data", stand_in_data)
    line.drop("--download")
    change = {
        "train": _train,
        "calibrate": _calibrate,
        "bench": _bench,
        "verify": _verify,
        "run": _run,
        "plan": _plan,
    }.get(line.name)
    if change is not None:
        change(line)


def stand_in_python(code: str) -> str:
    """Put a folder of pictures in the place of every camera."""
    return _CAMERA.sub(FRAMES, code)


def stand_in_data(spec: str) -> str:
    """Put drawn photos in the place of data that is not here; the kind must exist."""
    name, equals, rest = "", "", spec
    if "=" in spec.partition(":")[0]:
        name, equals, rest = spec.partition("=")
    parsed = parse_spec(rest)
    if parsed.kind == "imagefolder" and Path(parsed.location).is_dir():
        return spec
    if parsed.kind in {"csv", "collected"} and Path(parsed.location).is_file():
        return spec
    return f"{name}{equals}imagefolder:photos/clothing"


def _train(line: CommandLine) -> None:
    (store,) = line.values("--store") or ["store"]
    tasks = line.values("--task")
    epochs, baseline = 1, "--no-baseline"
    if any((Path(store) / "tasks" / f"{task}.safetensors").is_file() for task in tasks):
        # The tasks that the other commands know stay as they are.
        line.put("--store", f"{store}-again")
        line.drop("--resume")
        line.put("--overwrite")
    elif set(tasks) <= KNOWN and not line.has("--sweep"):
        line.put("--recipe", "steady")
        epochs, baseline = 4, "--baseline"
    line.put("--source", "resnet18")
    line.put("--weights", "source.pth")
    line.drop("--weights-key", "--stride-in-1x1", "--compile", "--source-labels")
    line.drop("--baseline", "--no-baseline")
    line.put("--image-size", str(SIZE))
    line.put("--workers", "0")
    if line.values("--scheme") == ["readout"]:  # takes no steps
        line.drop("--recipe")
        return
    line.put(baseline)
    line.put("--epochs", str(epochs))
    line.put("--batch-size", "16")
    line.put("--precision", "fp32")


def _calibrate(line: CommandLine) -> None:
    # A few dozen pictures decide no half point, whatever INT8 does.
    line.put("--max-drop", "25")
    line.put("--samples", "24")
    line.change("--unlabelled", lambda given: _NAMED.match(given)[0] + FRAMES)  # type: ignore[index]


def _bench(line: CommandLine) -> None:
    line.drop("--duration")
    line.put("--quick")
    line.put("--camera-size", "160x120")


def _plan(line: CommandLine) -> None:
    line.put("--graphs", "1")
    line.put("--no-compile")


def _verify(line: CommandLine) -> None:
    line.put("--batch-sizes", "1,2")


def _run(line: CommandLine) -> None:
    line.change("--camera", lambda given: _CAMERA.sub(FRAMES, given))
    line.drop(*_OF_CAMERAS, *_OF_MQTT, *_OF_WEBHOOKS)
    if line.values("--output") == ["mqtt"]:
        line.put("--output", "none")
    if line.has("--host"):
        line.put("--host", "127.0.0.1")
    if line.has("--port"):
        line.put("--port", "0")
    line.change("--token", lambda _: "a-token-of-a-test")
