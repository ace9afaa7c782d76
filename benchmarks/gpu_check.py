"""Everything that only a CUDA GPU can tell, in one command: tests, serving, training, tables.

Needs torch, torchvision, onnx and onnxruntime (its CPU wheel will do), and no install:

    PYTHONPATH=.:export:calibration:runtime python benchmarks/gpu_check.py

Runs the tests marked `gpu` where pytest is there, then compares in torch, alternating the
contenders: serving (the source alone, shared with separate and with fused deltas, six whole
models) and training steps (SNOW, full fine-tuning, a linear classifier). Where the `train` extra
is installed, tables 5 and 8 of the paper follow (`snow-deploy paper`). Writes
benchmarks/results/<gpu>.json. Without a GPU it says so and exits 0; `--dry-run-cpu` walks the
same path on the CPU with tiny networks, whose times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torchvision

from benchmarks._scenario import Fleet, Scenario
from benchmarks._torch_serving import fused_agreement, measure_serving, serving_contenders
from benchmarks._torch_training import TrainingSetup, measure_training
from snow_deploy.training.precision import autocast_dtype
from snow_runtime.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_LARGEST_ERROR = 0.05
"""Of fused against separate deltas, in units of a task's largest logit; half precision rounds."""
_PYTEST = ("-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider")
_TABLES = (("table5",), ("table8",))
_TABLES_NEED = ("click", "lightning", "matplotlib", "rich", "safetensors", "torchmetrics")
# The project's own options name plugins that a bare GPU machine lacks.
_WITHOUT_PLUGINS = ("-o", "addopts=--import-mode=importlib", "-o", "filterwarnings=default")


def main(arguments: list[str] | None = None) -> int:
    """Run the checks; return the exit code: 1 if a test failed or fused answers differ."""
    options = _parse(arguments)
    if not torch.cuda.is_available() and not options.dry_run_cpu:
        print(
            f"There is no CUDA GPU here (torch {torch.__version__}, built for CUDA "
            f"{torch.version.cuda}), so nothing was measured. --dry-run-cpu walks the same path "
            "on the CPU."
        )
        return 0
    dry = options.dry_run_cpu
    torch.backends.cudnn.benchmark = True
    report: dict[str, Any] = {"machine": machine(dry=dry), "dry_run": dry}
    print(json.dumps(report["machine"], indent=2), flush=True)
    report["tests"] = {"outcome": "left out: dry run"} if dry else run_gpu_tests()
    print(f"tests marked gpu: {report['tests']['outcome']}", flush=True)
    report |= _measure(dry=dry)
    report["paper"] = {} if dry else {name: paper_table(name, *more) for name, *more in _TABLES}
    path = options.output or RESULTS / f"{slug(report['machine']['device'])}.json"
    if not dry or options.output:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(f"{json.dumps(report, indent=2)}\n".encode())
        print(f"wrote {path}")
    agreement = report["agreement"]
    agrees = agreement["finite"] and agreement["largest_relative_error"] < _LARGEST_ERROR
    return int(report["tests"].get("returncode", 0) != 0 or not agrees)


def machine(*, dry: bool) -> dict[str, Any]:
    """Describe the GPU (or the CPU) and the versions."""
    facts: dict[str, Any] = {
        "device": f"{platform.machine()} cpu dry run",
        "driver": None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }
    if not dry:
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "device": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "driver": _driver(),
        }
    return facts


def run_gpu_tests() -> dict[str, Any]:
    """Run the test files that hold the marker `gpu`; say what came of it."""
    missing = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if missing:
        return {"outcome": f"left out: {' and '.join(missing)} not installed"}
    marked = [str(path) for path in sorted(ROOT.glob("tests/**/test_*.py")) if _is_marked(path)]
    if not marked:
        return {"outcome": "left out: no test is marked gpu"}
    command = [sys.executable, *_PYTEST, *_WITHOUT_PLUGINS, *marked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    print(done.stdout, done.stderr)
    lines = done.stdout.strip().splitlines() or ["no output"]
    return {"outcome": lines[-1].strip("= "), "returncode": done.returncode}


def paper_table(name: str, *options: str) -> dict[str, Any]:
    """Measure a table of the paper by its command; return its JSON, or why there is none."""
    missing = [module for module in _TABLES_NEED if find_spec(module) is None]
    if missing:
        return {"outcome": f"left out: {', '.join(missing)} not installed"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "snow_deploy", "paper", name, "-o", folder, *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
        print(done.stdout, done.stderr, flush=True)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no output"]
            return {"outcome": f"failed: {lines[-1]}"}
        found: dict[str, Any] = json.loads((Path(folder) / f"{name}.json").read_text("utf-8"))
    return found


def slug(name: str) -> str:
    """Turn a device's name into a file's: `NVIDIA GeForce RTX 3090` to `geforce-rtx-3090`."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "-".join(word for word in words if word != "nvidia") or "unknown"


def _measure(*, dry: bool) -> dict[str, Any]:
    """Measure serving and training and print them."""
    scenario = Scenario("resnet18", 64, 10, (5, 3)) if dry else Scenario()
    device = torch.device("cpu" if dry else "cuda")
    count = len(scenario.task_classes)
    size = scenario.image_size
    fleet = Fleet(scenario)
    contenders = serving_contenders(fleet, count, device, torch.float32 if dry else torch.float16)
    agreement = fused_agreement(contenders, size)
    print(f"fused against separate deltas: {agreement}", flush=True)
    serving = measure_serving(contenders, size, (1, 2) if dry else (1, 32), 1 if dry else 10)
    for row in serving:
        _print_serving(row)
    del contenders
    setup = TrainingSetup(device, autocast_dtype("auto", device), size, max(scenario.task_classes))
    if dry:
        setup = TrainingSetup(device, torch.float32, size, 5, steps=1, rounds=1)
    training = measure_training(fleet, setup, (8,) if dry else (256, 128))
    for row in training:
        _print_training(row)
    return {
        "architecture": scenario.architecture,
        "image_size": size,
        "tasks": count + 1,
        "agreement": agreement,
        "serving": {"dtype": "float32" if dry else "float16", "rows": serving},
        "training": {"dtype": str(setup.dtype).removeprefix("torch."), "rows": training},
    }


def _print_serving(row: dict[str, Any]) -> None:
    times = ", ".join(f"{name} {time_ms:.3f}" for name, time_ms in row["ms"].items())
    print(
        f"serving, batch {row['batch']}, {row['mode']}: ms {times}; "
        f"shared/source {row['shared_over_source']:.2f}, "
        f"separate models/shared {row['separate_models_over_shared']:.2f}",
        flush=True,
    )


def _print_training(row: dict[str, Any]) -> None:
    if "does_not_fit" in row:
        print(f"training, batch {row['batch']}: {row['does_not_fit']} does not fit", flush=True)
        return
    parts = []
    for name, speed in row["images_per_s"].items():
        peak = row["peak_bytes"][name]
        parts.append(f"{name} {speed:.0f}" + ("" if peak is None else f" ({peak / 2**30:.2f} GiB)"))
    print(
        f"training, batch {row['batch']}: images/s {', '.join(parts)}; "
        f"snow/fine-tuning {row['snow_over_fine_tuning']:.2f}, "
        f"snow/linear {row['snow_over_linear']:.2f}",
        flush=True,
    )


def _is_marked(path: Path) -> bool:
    return "mark.gpu" in path.read_text(encoding="utf-8")


def _driver() -> str | None:
    """Ask nvidia-smi; None where it is not on the PATH."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--dry-run-cpu", action="store_true", help="tiny networks on the CPU: does the code run?"
    )
    parser.add_argument(
        "--output", type=Path, help="the JSON file (default: benchmarks/results/<gpu>.json)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
