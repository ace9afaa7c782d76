"""What bulk scoring costs over the bare loop, what Ray costs over that, and whether memory is flat.

Photos are drawn as JPEG files. Contenders take turns: the bare loop (`load_image`, then the model)
in one process with all cores, the same in a process a core, `score` with a process a core, and, if
Ray is installed, `score --ray local` with as many actors. Memory is that of the process that scores
and of the one that gives out shards, over many small rows of a Parquet file. The last printed line
is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from snow_runtime import load, load_image
from snow_runtime.bench.process_memory import read_process_memory
from snow_runtime.score.on_ray import RayActors, begin_ray, end_ray
from snow_runtime.score.options import JobFiles, RayOptions, ScoreOptions
from snow_runtime.score.pool import ProcessPool
from snow_runtime.score.run import score

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.score.run import Workers
    from snow_runtime.score.shard_worker import Setup

_RAY = importlib.util.find_spec("ray") is not None


@dataclass(frozen=True)
class ScoreSettings:
    """What is measured.

    Attributes:
        photos: How many photos.
        side: Longer side of each, in pixels.
        architecture: torchvision's name of the model that answers.
        image_size: Side of what it sees, in pixels.
        rounds: Turns of each contender.
        rows: Rows of the memory measurement.
        processes: Processes, and actors.
    """

    photos: int = 2000
    side: int = 500
    architecture: str = "resnet50"
    image_size: int = 224
    rounds: int = 3
    rows: int = 100_000
    processes: int = 2


def draw_photos(folder: Path, settings: ScoreSettings) -> list[Path]:
    """Draw photos with the detail of a real one, so that decoding takes what it takes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    size = (settings.side, settings.side * 3 // 4)
    paths = []
    for number in range(settings.photos):
        coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        grown = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        noisy = (grown + rng.normal(0, 8, grown.shape)).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{number:06}.jpg")
        Image.fromarray(noisy).save(paths[-1], quality=90)
    return paths


def bare_loop(model: Path, paths: list[Path], threads: int | None) -> float:
    """Answer photos one by one; return the seconds that the loop took, loading left out."""
    with load(model, threads=threads) as held:
        held.warmup()
        began = time.perf_counter()
        for path in paths:
            held(load_image(path))
        return time.perf_counter() - began


def bare_loops(model: Path, paths: list[Path], processes: int) -> float:
    """Do the same in a process a core; return the seconds that the slowest took."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        parts = [
            pool.submit(bare_loop, model, paths[start::processes], 1) for start in range(processes)
        ]
        return max(part.result() for part in parts)


def timed_score(
    model: Path, folder: Path, output: Path, workers: Callable[[Setup], Workers]
) -> float:
    """Score a folder; return the seconds of the whole, its processes' start included."""
    began = time.perf_counter()
    files = JobFiles(model, (), str(output))
    outcome = score(files, ScoreOptions((str(folder),)), workers)
    took = time.perf_counter() - began
    if outcome.failed or outcome.given_up:
        msg = f"not every photo was answered: {outcome}"
        raise RuntimeError(msg)
    return took


def measure_speed(settings: ScoreSettings, model: Path, folder: Path) -> dict[str, float]:
    """Return each contender's best pictures a second."""
    paths = draw_photos(folder / "photos", settings)
    count, number = settings.processes, iter(range(10**6))

    def scored(workers: Callable[[Setup], Workers]) -> float:
        return timed_score(model, folder / "photos", folder / f"out{next(number)}", workers)

    contenders: dict[str, Callable[[], float]] = {
        "bare loop, all cores": lambda: bare_loop(model, paths, None),
        "bare loop, a process a core": lambda: bare_loops(model, paths, count),
        "score": lambda: scored(lambda setup: ProcessPool(setup, count)),
    }
    if _RAY:
        begin_ray("local")
        spread = RayOptions("local", (count, count))
        contenders["score --ray local"] = lambda: scored(lambda setup: RayActors(setup, spread))
    best = dict.fromkeys(contenders, float("inf"))
    for turn in range(settings.rounds):
        for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
            best[name] = min(best[name], contenders[name]())
    if _RAY:
        end_ray()
    return {name: settings.photos / seconds for name, seconds in best.items()}


def write_rows(path: Path, rows: int) -> None:
    """Write many tiny pictures as bytes in a Parquet file, a hundred of them in turns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    tiny = []
    for _ in range(100):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(stream, "PNG")
        tiny.append(stream.getvalue())
    schema = pa.schema([("id", pa.string()), ("image", pa.binary())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 2000):
            some = range(start, min(start + 2000, rows))
            writer.write_table(
                pa.table(
                    {"id": [str(n) for n in some], "image": [tiny[n % 100] for n in some]},
                    schema=schema,
                )
            )


def measure_memory(settings: ScoreSettings, model: Path, folder: Path) -> dict[str, list[float]]:
    """Return the megabytes that two processes held at each tenth of the rows."""
    write_rows(folder / "rows.parquet", settings.rows)
    pools: list[ProcessPool] = []
    seen: dict[str, list[float]] = {"scoring": [], "giving out": []}
    output = folder / "memory"
    parts = -(-settings.rows // 2000)
    done = threading.Event()

    def watch() -> None:
        tenth = 1
        while not done.wait(0.05):
            there = len(list(output.glob("part-*.parquet"))) if output.exists() else 0
            if pools and there >= tenth * parts / 10 and (workers := pools[0]._workers):  # noqa: SLF001
                status = Path(f"/proc/{workers[0].process.pid}/status")
                for name, place in (("scoring", status), ("giving out", None)):
                    held = read_process_memory(place) if place else read_process_memory()
                    seen[name].append((held.now_bytes or 0) / 2**20)
                tenth += 1

    def workers(setup: Setup) -> ProcessPool:
        pools.append(ProcessPool(setup, 1))
        return pools[0]

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        files = JobFiles(model, (), str(output))
        options = ScoreOptions((str(folder / "rows.parquet"),), shard_rows=2000)
        outcome = score(files, options, workers)
    finally:
        done.set()
        watcher.join()
    if outcome.rows != settings.rows:
        msg = f"{outcome.rows} rows, expected {settings.rows}"
        raise RuntimeError(msg)
    return seen


def make_graph(settings: ScoreSettings, folder: Path) -> Path:
    """Export a network of random weights."""
    from benchmarks._graphs import GraphMaker
    from benchmarks._scenario import Fleet, Scenario

    scenario = Scenario(architecture=settings.architecture, image_size=settings.image_size)
    return GraphMaker(Fleet(scenario), folder).source()


def run(settings: ScoreSettings) -> dict[str, Any]:
    """Measure all of it, and print it as it comes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_graph(settings, folder)
        speed = measure_speed(settings, model, folder)
        fastest = max(rate for each, rate in speed.items() if each.startswith("bare"))
        print(f"{'contender':<30} {'images/s':>9} {'of the bare loop':>17}")
        for each, rate in speed.items():
            print(f"{each:<30} {rate:>9.2f} {rate / fastest:>17.3f}")
        small = ScoreSettings(architecture="resnet18", image_size=32)
        (folder / "small").mkdir()
        memory = measure_memory(settings, make_graph(small, folder / "small"), folder)
    for each, held in memory.items():
        print(
            f"{each:<12} MB at each tenth of {settings.rows:,} rows: "
            + " ".join(f"{each_mb:.0f}" for each_mb in held)
        )
    return {"settings": asdict(settings), "images_per_s": speed, "memory_mb": memory}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few photos and rows")
    parser.add_argument("--photos", type=int, default=ScoreSettings.photos)
    parser.add_argument("--rounds", type=int, default=ScoreSettings.rounds)
    parser.add_argument("--rows", type=int, default=ScoreSettings.rows)
    given = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    settings = ScoreSettings(
        photos=given.photos, rounds=given.rounds, rows=given.rows, processes=max(2, cores)
    )
    if given.quick:
        settings = ScoreSettings(
            photos=24, architecture="resnet18", image_size=64, rounds=1, rows=6000
        )
    print(json.dumps(run(settings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
