"""What the runtime adds to the bare computation, and whether it stays flat.

    python -m benchmarks.runtime [GRAPH] [--camera 1280x720] [--seconds 60] [--output FILE.json]

In one run, taking turns: `model(frame)`; the bare ONNX Runtime call on what OpenCV made of the same
frame (antialiased, INTER_AREA, and not, INTER_LINEAR). Then, in turns again, our loop over a video
file and a plain loop over it; memory and threads while a synthetic camera runs at full speed.
Without a graph a small random one is exported.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

import snow_runtime
from benchmarks._clock import alternate, fastest_ms
from snow_runtime.app.loop import Loop, LoopOptions
from snow_runtime.app.outputs.jsonl import NullOutput
from snow_runtime.backends.import_onnxruntime import import_onnxruntime
from snow_runtime.bench.process_memory import read_process_memory
from snow_runtime.pictures.preprocessing import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_ROUNDS, _RUNS, _VIDEO_FRAMES = 6, 10, 120


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    chosen = _parse(arguments)
    width, height = (int(side) for side in chosen.camera.split("x"))
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame = cv2.GaussianBlur(frame, (0, 0), 3)  # compresses like a photo
    report: dict[str, Any] = {"camera": chosen.camera, "threads": chosen.threads, **_package()}
    with _graph(chosen.graph) as path:
        report["ms"] = _latencies(path, frame, chosen.threads)
        bare = report["ms"]["onnxruntime + cv2 area"]
        report["model_over_bare"] = report["ms"]["model"] / bare
        report |= _video(path, frame, chosen.threads, bare)
        report |= _flat(path, chosen.camera, chosen.threads, chosen.seconds)
    for key, value in report.items():
        print(f"{key:<28} {value}")
    text = json.dumps(report)
    if chosen.output:
        chosen.output.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def _latencies(path: Path, frame: NDArray[np.uint8], threads: int) -> dict[str, float]:
    """Time each alone in its session, in turns: the least counts."""

    def of_model() -> float:
        with snow_runtime.load(path, threads=threads) as model:
            return fastest_ms(lambda: model(frame, "bgr"), warm_up=2, runs=_RUNS)

    def of_bare(interpolation: int) -> Callable[[], float]:
        def visit() -> float:
            run = _bare(path, threads, interpolation)
            return fastest_ms(lambda: run(frame), warm_up=2, runs=_RUNS)

        return visit

    visits = {
        "model": of_model,
        "onnxruntime + cv2 area": of_bare(cv2.INTER_AREA),
        "onnxruntime + cv2 linear": of_bare(cv2.INTER_LINEAR),
    }
    return alternate(visits, _ROUNDS)


def _bare(path: Path, threads: int, interpolation: int) -> Callable[[NDArray[np.uint8]], object]:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    with snow_runtime.load(path) as model:
        preprocessing, name = model.manifest.preprocessing, model.manifest.input.name
    short, size = preprocessing.resize_size, preprocessing.image_size

    def run(frame: NDArray[np.uint8]) -> object:
        height, width = frame.shape[:2]
        scale = short / min(height, width)
        small = cv2.resize(
            frame, (int(width * scale), int(height * scale)), interpolation=interpolation
        )
        top, left = ((side - size) // 2 for side in small.shape[:2])
        rgb = cv2.cvtColor(small[top : top + size, left : left + size], cv2.COLOR_BGR2RGB)
        return session.run(None, {name: normalise(rgb, preprocessing)[np.newaxis]})

    return run


def _video(path: Path, frame: NDArray[np.uint8], threads: int, bare_ms: float) -> dict[str, float]:
    """Answer every frame of a file: our loop, and a plain one of OpenCV and ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.avi"
        size = (frame.shape[1], frame.shape[0])
        writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 30, size)
        for number in range(_VIDEO_FRAMES):
            writer.write(np.roll(frame, 8 * number, axis=1))
        writer.release()
        visits = {
            "loop": lambda: _loop_ms(path, video, threads),
            "plain": lambda: _plain_ms(path, video, threads),
        }
        times = alternate(visits, _ROUNDS)
    return {
        "file_frames_per_s": 1000 / times["loop"],
        "file_over_bare": bare_ms / times["loop"],
        "file_over_plain_loop": times["plain"] / times["loop"],
    }


def _loop_ms(path: Path, video: Path, threads: int) -> float:
    """Give milliseconds a frame of our loop: capture, preparing and the model side by side."""
    with (
        snow_runtime.SwappableModel(snow_runtime.load(path, threads=threads)) as model,
        snow_runtime.CameraGroup([snow_runtime.open_camera(str(video))]) as cameras,
    ):
        model.batch([np.zeros((720, 1280, 3), np.uint8)], "bgr")
        began = time.perf_counter()
        answered = Loop(model, cameras, [NullOutput()]).run()
        return 1e3 * (time.perf_counter() - began) / answered


def _plain_ms(path: Path, video: Path, threads: int) -> float:
    """Give milliseconds a frame of what one would write first: read, resize, run, in turn."""
    run = _bare(path, threads, cv2.INTER_AREA)
    run(np.zeros((720, 1280, 3), np.uint8))
    capture = cv2.VideoCapture(str(video))
    began, count = time.perf_counter(), 0
    while (found := capture.read())[0]:
        run(np.asarray(found[1], np.uint8))
        count += 1
    return 1e3 * (time.perf_counter() - began) / count


def _flat(path: Path, camera: str, threads: int, seconds: float) -> dict[str, Any]:
    """Let a synthetic camera run at full speed, and look at memory and threads."""
    width, height = camera.split("x")
    uri = f"synthetic://?width={width}&height={height}&fps=0"
    before = threading.active_count()
    sizes: list[int] = []
    with (
        snow_runtime.SwappableModel(snow_runtime.load(path, threads=threads)) as model,
        snow_runtime.CameraGroup([snow_runtime.open_camera(uri)]) as cameras,
    ):
        loop = Loop(model, cameras, [NullOutput()], LoopOptions())
        thread = threading.Thread(target=loop.run)
        thread.start()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(min(1.0, seconds / 20))
            sizes.append(_resident())
        loop.stop()
        thread.join()
        answered = sum(loop.stats.snapshot()["frames"].values())
    settled = sizes[len(sizes) // 4 :]
    return {
        "synthetic_s": seconds,
        "synthetic_frames": answered,
        "resident_mb": round(settled[-1] / 1e6, 1),
        "resident_growth": settled[-1] / settled[0] - 1,
        "threads_left": threading.active_count() - before,
    }


def _resident() -> int:
    return read_process_memory().now_bytes or 0


def _package() -> dict[str, Any]:
    """Import the runtime in a fresh process: how long that takes, and what it holds."""
    code = (
        "import time; began = time.perf_counter(); import snow_runtime; "
        "took = time.perf_counter() - began; "
        "from snow_runtime.bench.process_memory import read_process_memory; "
        "print(took, read_process_memory().now_bytes)"
    )
    runs = [
        subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        for _ in range(5)
    ]
    pairs = [tuple(map(float, run.stdout.split())) for run in runs]
    return {
        "import_s": round(min(took for took, _ in pairs), 4),
        "import_resident_mb": round(min(size for _, size in pairs) / 1e6, 1),
    }


@contextmanager
def _graph(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    from benchmarks._graphs import GraphMaker
    from benchmarks._scenario import Fleet, Scenario

    scenario = Scenario("resnet18", image_size=64, source_classes=10, task_classes=(5,))
    with tempfile.TemporaryDirectory() as folder:
        yield GraphMaker(Fleet(scenario), Path(folder)).shared("fused", 1)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("graph", type=Path, nargs="?")
    parser.add_argument("--camera", default="1280x720", metavar="WxH")
    parser.add_argument("--threads", type=int, default=2, help="of ONNX Runtime (default: 2)")
    parser.add_argument("--seconds", type=float, default=30, help="of the synthetic camera")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write the JSON here too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
