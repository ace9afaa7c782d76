"""What a training step costs: SNOW, full fine-tuning (FT) and a linear classifier (FO).

    python -m benchmarks.training --image-size 128 --batch 32 --rounds 5 --output training.json

The three take turns in one run, on random pictures already in memory, and each one's smallest
time counts. Peak memory is of one contender alone in a fresh process: on a CPU what resident
memory rises above its value before the first step, on a GPU torch's own count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks._scenario import Fleet, Scenario
from benchmarks._torch_training import (
    CONTENDERS,
    TrainingSetup,
    measure_training,
    training_peak_bytes,
)
from benchmarks.delta_forms import FORMS
from snow_deploy.allocator import keep_freed_memory
from snow_deploy.training.precision import autocast_dtype
from snow_runtime.files import atomic_write

_CLASSES = 10


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; with --peak-of only one contender's peak memory, in bytes."""
    options = _parse(arguments)
    keep_freed_memory()  # as `snow-deploy train` does
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    form = FORMS[options.form]
    fleet = Fleet(Scenario(options.architecture, options.image_size, delta=form))
    setup = TrainingSetup(
        device,
        autocast_dtype(options.precision, device),
        options.image_size,
        _CLASSES,
        steps=10 if device.type == "cuda" else 1,
        rounds=options.rounds,
        cpu_time=options.cpu_time,
    )
    if options.peak_of:
        print(training_peak_bytes(fleet, setup, options.peak_of, options.batch))
        return 0
    (row,) = measure_training(fleet, replace(setup, smallest_batch=options.batch), [options.batch])
    if "does_not_fit" in row:
        print(f"{row['does_not_fit']} does not fit at a batch of {options.batch}")
        return 1
    if device.type == "cpu":
        row["peak_bytes"] = {name: _peak_alone(name, options) for name in CONTENDERS}
    peaks = row["peak_bytes"]
    report: dict[str, Any] = {
        "architecture": options.architecture,
        "image_size": options.image_size,
        "form": options.form,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "clock": "cpu" if options.cpu_time else "wall",
        "dtype": str(setup.dtype).removeprefix("torch."),
        **row,
        "peak_over_fine_tuning": peaks["snow"] / peaks["fine_tuning"],
    }
    print(json.dumps(report))
    if options.output:
        with atomic_write(options.output) as file:
            file.write(f"{json.dumps(report, indent=2)}\n".encode())
    return 0


def _peak_alone(name: str, options: argparse.Namespace) -> int:
    """Ask a fresh interpreter for a contender's peak."""
    command = [sys.executable, "-m", "benchmarks.training", "--peak-of", name]
    command += ["--architecture", options.architecture, "--image-size", str(options.image_size)]
    command += ["--batch", str(options.batch), "--threads", str(options.threads)]
    command += ["--precision", options.precision, "--form", options.form]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return int(done.stdout.split()[-1])


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--architecture", default="resnet50", help="torchvision's name")
    parser.add_argument("--image-size", type=int, default=128, help="in pixels")
    parser.add_argument(
        "--form", choices=FORMS, default=next(iter(FORMS)), help="of the delta, as in delta_forms"
    )
    parser.add_argument("--batch", type=int, default=32, help="pictures a step")
    parser.add_argument("--rounds", type=int, default=5, help="visits to each contender")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its choice")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="as of `snow-deploy train`: auto is bf16 on a GPU that has it, else fp32",
    )
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count processor time, not the clock's: with --threads 1 on a busy machine",
    )
    parser.add_argument("--output", type=Path, help="a JSON file")
    parser.add_argument("--peak-of", choices=CONTENDERS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
