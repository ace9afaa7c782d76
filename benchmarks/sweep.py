"""What a sweep saves: nine deltas on one pass of the source, against nine runs.

    python -m benchmarks.sweep --train 160 --test 32 --output sweep.json

Real JPEG files, ResNet-50 with random weights, whole runs as `snow-deploy train` makes them:
building, training, evaluating, measuring, storing. Interpreters are started for neither side. Each
is done twice, the sweep before the nine runs and after them; the smaller time of each run counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from benchmarks._scenario import Fleet, Scenario
from snow_deploy.allocator import keep_freed_memory
from snow_deploy.data import open_data
from snow_deploy.models.options import DeltaOptions
from snow_deploy.training.options import Recipe, TrainOptions
from snow_deploy.training.run import RunSettings, train_tasks
from snow_deploy.training.store import Store
from snow_deploy.training.task_requests import TaskRequest
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PICTURE = (375, 500)  # as photos of the usual data sets
_CLASSES = ("a", "b")
_SETTINGS = {"baseline": False, "overwrite": True}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print one JSON object."""
    options = _parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    keep_freed_memory()  # as the command does
    clock = time.process_time if options.cpu_time else time.perf_counter
    settings = RunSettings(workers=options.workers, **_SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write_photos(root / "photos", options.train, options.test)
        store = Store(root / "store")
        store.put_source(Fleet(Scenario(options.architecture)).source_weights)
        requests = _requests(f"imagefolder:{root / 'photos'}", options)

        def timed(tasks: Sequence[TaskRequest]) -> float:
            return _timed(lambda: train_tasks(store, tasks, settings), clock)

        first = timed(requests)
        runs = [timed([request]) for request in requests]
        again = [timed([request]) for request in reversed(requests)]
        runs = [min(times) for times in zip(runs, reversed(again), strict=True)]
        sweep = min(first, timed(requests))
    report: dict[str, Any] = {
        "architecture": options.architecture,
        "image_size": options.image_size,
        "batch": options.batch,
        "pictures": [options.train, options.test],
        "threads": torch.get_num_threads(),
        "clock": "cpu" if options.cpu_time else "wall",
        "deltas": len(requests),
        "sweep_s": sweep,
        "runs_s": sum(runs),
        "sweep_over_runs": sweep / sum(runs),
    }
    print(json.dumps(report))
    if options.output:
        with atomic_write(options.output) as file:
            file.write(f"{json.dumps(report, indent=2)}\n".encode())
    return 0


def _requests(data: str, options: argparse.Namespace) -> list[TaskRequest]:
    """Ask for three k times three variances of the noise."""
    splits = open_data(data)
    common = TrainOptions(
        recipe=Recipe(lr=0.1),
        epochs=options.epochs,
        batch_size=options.batch,
        image_size=options.image_size,
        precision="fp32",
    )
    return [
        TaskRequest(
            f"t{number}", splits, replace(common, delta=DeltaOptions(k_divisor=k, sigma2=sigma2))
        )
        for number, (k, sigma2) in enumerate(product((4, 8, 16), (1e-5, 1e-3, 1e-1)))
    ]


def _write_photos(root: Path, train: int, test: int) -> None:
    """Write noise over a gradient: as large and as slow to decode as photos."""
    rng = np.random.default_rng(0)
    height, width = _PICTURE
    slope = np.linspace(0, 180, width, dtype=np.uint8)[None, :, None]
    for split, count in (("train", train), ("test", test)):
        for number in range(count):
            folder = root / split / _CLASSES[number % len(_CLASSES)]
            folder.mkdir(parents=True, exist_ok=True)
            grain = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
            Image.fromarray(slope + grain).save(folder / f"{number}.jpg", quality=90)


def _timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    call()
    return clock() - started


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--architecture", default="resnet50", help="torchvision's name")
    parser.add_argument("--image-size", type=int, default=128, help="in pixels")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step")
    parser.add_argument("--train", type=int, default=160, help="training pictures")
    parser.add_argument("--test", type=int, default=32, help="test pictures")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the training pictures")
    parser.add_argument("--workers", type=int, default=2, help="processes that load pictures")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its choice")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count processor time: with --threads 1 --workers 0 on a busy machine",
    )
    parser.add_argument("--output", type=Path, help="a JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
