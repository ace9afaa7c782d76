"""What a real Triton on this machine costs over the direct call: one client, one picture a call.

    python -m benchmarks.triton_serving [GRAPH] [--quick] [--runs 200] [--output FILE.json]

Needs the Triton of `make triton-server`, whose only backend is Python's. In one run, call by call
in turns: a JPEG answered by `model(decode_image(...))` and by the Python form; a frame answered by
`model(frame)` and by `snow_runtime.remote`, which prepares it here and sends the square. Without a
graph a random one is exported, ResNet-50 at 224 px. The last line is one JSON object.

Called triton_serving, and not triton: a script's folder comes first where modules are looked for,
and torch imports a module of that name.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFilter

import snow_runtime
from benchmarks._triton_server import NoTritonError, TritonServer, find_triton
from snow_runtime.files import atomic_write
from snow_runtime.triton.options import TritonOptions
from snow_runtime.triton.repository import add_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WARM_UP = 5
_REST_S = (
    0.02  # ONNX Runtime's threads spin on for a while, and Triton's computes on the same cores
)
_FRAME = (1280, 720)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, return the exit code; without a Triton say so and return 0."""
    chosen = _parse(arguments)
    try:
        find_triton()
    except NoTritonError as error:
        print(f"nothing was measured: {error}")
        return 0
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        path = chosen.graph or _random_graph(folder, quick=chosen.quick)
        options = TritonOptions(name="model", form="python", device="cpu")
        add_version(folder / "models", path, options)
        server = stack.enter_context(TritonServer(folder / "models", folder))
        here = stack.enter_context(snow_runtime.load(path, ["CPUExecutionProvider"]))
        there = stack.enter_context(snow_runtime.remote(server.address("model")))
        times = take_turns(_contenders(here, there, server.port, stack), chosen.runs)
    report = _report(times)
    for line in _lines(report):
        print(line)
    text = json.dumps(report)
    if chosen.output:
        with atomic_write(chosen.output, "w") as stream:
            stream.write(text)
    print(text)
    return 0


def take_turns(contenders: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Call each contender once a round, in reverse every second round; give all times in ms."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(_WARM_UP + runs):
        order = list(contenders)
        for name in order if number % 2 == 0 else order[::-1]:
            time.sleep(_REST_S)
            began = time.perf_counter()
            contenders[name]()
            took_ms = 1e3 * (time.perf_counter() - began)
            if number >= _WARM_UP:
                times[name].append(took_ms)
    return times


def _contenders(
    here: snow_runtime.Model, there: snow_runtime.Model, port: int, stack: ExitStack
) -> dict[str, Callable[[], object]]:
    import tritonclient.grpc as triton

    picture = _photo()
    frame = np.asarray(picture)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    content = stream.getvalue()
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    stack.callback(client.close)
    given = triton.InferInput("picture", [1, 1], "BYTES")
    given.set_data_from_numpy(np.array([[content]], object))
    outputs = [f"{task}.{what}" for task in here.tasks for what in ("label", "probabilities")]
    wanted = [triton.InferRequestedOutput(name) for name in outputs]

    def python_form() -> object:
        return client.infer("model", [given], outputs=wanted)

    return {
        "JPEG, direct": lambda: here(snow_runtime.decode_image(content)),
        "JPEG, python form": python_form,
        "frame, direct": lambda: here(frame),
        "frame, remote": lambda: there(frame),
    }


def _photo() -> Image.Image:
    """Draw noise that compresses like a photo."""
    width, height = _FRAME
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3))


def _report(times: Mapping[str, list[float]]) -> dict[str, Any]:
    figures = {
        name: {f"p{share}_ms": round(float(np.percentile(all_ms, share)), 3) for share in (50, 95)}
        for name, all_ms in times.items()
    }
    p50 = {name: figure["p50_ms"] for name, figure in figures.items()}
    return {
        "runs": min(map(len, times.values())),
        "frame": f"{_FRAME[0]}x{_FRAME[1]}",
        "figures": figures,
        "python_form_over_direct": round(p50["JPEG, python form"] / p50["JPEG, direct"], 3),
        "remote_over_direct": round(p50["frame, remote"] / p50["frame, direct"], 3),
    }


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [f"{'':<20} {'p50 ms':>8} {'p95 ms':>8}"]
    for name, figure in report["figures"].items():
        lines.append(f"{name:<20} {figure['p50_ms']:>8.2f} {figure['p95_ms']:>8.2f}")
    return lines


def _random_graph(folder: Path, *, quick: bool) -> Path:
    from benchmarks._graphs import GraphMaker
    from benchmarks._scenario import Fleet, Scenario

    scenario = Scenario("resnet18", 64) if quick else Scenario()
    return GraphMaker(Fleet(scenario), folder).shared("fused", 2)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("graph", nargs="?", type=Path, help="a graph of snow-deploy export")
    parser.add_argument("--quick", action="store_true", help="ResNet-18 at 64 px")
    parser.add_argument("--runs", type=int, default=200, help="timed calls of each contender")
    parser.add_argument("--output", type=Path, help="write the JSON object here too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
