"""Engines for GPUs that need not be here: what precision they reach, and what they cost.

    python -m benchmarks.engines [--quick] [--target sm80,sm86] [--output FILE.json]

Six tasks on a ResNet-50 and on a MobileNetV2, networks as in `serving.py`, calibrated on random
pictures: the layers and their types are those of trained networks, the accuracy is not. Every
engine goes the whole way of `snow-deploy build-engine`; none is run. The last line is one JSON
object. Needs TensorRT-RTX: pip install -e '.[rtx]'.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks._graphs import GraphMaker
from benchmarks._scenario import Fleet, Scenario
from snow_calibration.calibrate import calibrate, write_graph
from snow_calibration.pictures import CalibrationPictures
from snow_runtime.engine.backend import PORTABLE
from snow_runtime.engine.make import build_engine
from snow_runtime.engine.options import BuildOptions
from snow_runtime.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.graph.manifest import Precision

PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16", "int8")
_FULL: Final = (Scenario(), Scenario(architecture="mobilenet_v2"))
_QUICK: Final = (
    Scenario(architecture="resnet18", image_size=64, source_classes=10, task_classes=(5, 7)),
)
_SAMPLES: Final = 16


def main(arguments: list[str] | None = None) -> int:
    """Build, print a table, return the exit code."""
    chosen = _parse(arguments)
    targets = chosen.target.split(",") if chosen.target else [*PORTABLE, ",".join(PORTABLE)]
    rows = []
    print(f"{'network':<14} {'precision':<9} {'for':<24} {'share':>7} {'layers':>6} ", end="")
    print(f"{'plan MB':>8} {'s':>6}")
    try:
        for row in _rows(_QUICK if chosen.quick else _FULL, targets):
            rows.append(row)
            print(
                f"{row['architecture']:<14} {row['precision']:<9} {row['target']:<24} "
                f"{row['in_precision']:>3}/{row['convolutions']:<3} {row['compute_layers']:>6} "
                f"{row['plan_bytes'] / 1e6:>8.1f} {row['build_s']:>6.1f}",
                flush=True,
            )
    except MissingDependencyError as error:
        print(f"not measured: {error}")
        return 0
    document = json.dumps({"engines": rows})
    if chosen.output:
        chosen.output.write_text(document + "\n", encoding="utf-8")
    print(document)
    return 0


def _rows(scenarios: tuple[Scenario, ...], targets: list[str]) -> Iterator[dict[str, Any]]:
    for scenario in scenarios:
        with tempfile.TemporaryDirectory() as folder:
            fp32, int8 = _graphs(scenario, Path(folder))
            for precision in PRECISIONS:
                graph = int8 if precision == "int8" else fp32
                for target in targets:
                    yield _row(scenario, graph, precision, target)


def _row(scenario: Scenario, graph: Path, precision: Precision, target: str) -> dict[str, Any]:
    options = BuildOptions(precision, tuple(target.split(",")), least_share=0)
    engine = graph.with_suffix(".engine")
    record = build_engine(graph, engine, options, backend_name="tensorrt-rtx").record
    return {
        "architecture": scenario.architecture,
        "image_size": scenario.image_size,
        "tasks": 1 + len(scenario.task_classes),
        "precision": precision,
        "target": target,
        "version": record.version,
        "convolutions": record.achieved.convolutions,
        "in_precision": record.achieved.in_precision,
        "by_precision": record.achieved.by_precision,
        "others": record.achieved.others,
        "compute_layers": record.compute_layers,
        "plan_bytes": record.plan_bytes,
        "build_s": record.build_s,
    }


def _graphs(scenario: Scenario, folder: Path) -> tuple[Path, Path]:
    """Write the fp32 graph and the INT8 one."""
    maker = GraphMaker(Fleet(scenario), folder)
    fp32 = maker.shared("fused", len(scenario.task_classes))
    size = scenario.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (_SAMPLES, size, size, 3), np.uint8)
    samples = CalibrationPictures(tuple(f"random {number}" for number in range(_SAMPLES)), pixels)
    found = calibrate(fp32, samples, folder / "ranges.json", method="minmax")
    int8 = folder / "int8.onnx"
    write_graph(found.int8(), int8)
    return fp32, int8


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small network, within a minute")
    parser.add_argument("--target", help="GPUs to build for; default: each portable one, and all")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write the JSON here too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
