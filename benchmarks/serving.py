"""What serving six tasks costs: one shared graph against the source alone and six models.

Measures in one run the multiply-adds, the layers that TensorRT-RTX compiles (no GPU needed), the
latency in ONNX Runtime on the CPU, and the seconds to export and to compile; and six readouts in
one graph, with the seconds to fit one. All networks are random. The last printed line is one JSON
object. See docs/lab/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch

from benchmarks._clock import alternate, fastest_ms
from benchmarks._graphs import GraphMaker, open_on_cpu
from benchmarks._readouts import FitScenario, time_fit
from benchmarks._scenario import Fleet, Scenario
from snow_export.inspect.cost import measure_cost
from snow_runtime.engine.build import compile_graph
from snow_runtime.errors import MissingDependencyError
from snow_runtime.files import atomic_write
from snow_runtime.graph.half_precision import to_fp16

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TARGET = "sm86"
_PACKAGES = ("torch", "onnx", "onnxruntime", "tensorrt_rtx_cu13_bindings")


@dataclass(frozen=True)
class ServingSettings:
    """What is measured and how thoroughly.

    Attributes:
        scenario: The networks.
        rounds: Visits to each contender.
        runs: Timed runs of one visit, behind two that are not.
        threads: Of ONNX Runtime.
        torch_threads: Of the exporter; on tiny tensors a second thread only waits.
        task_counts: Tasks of the fused graph, the source's own included, for the cost of one more.
        compiled: Whether TensorRT-RTX compiles the graphs, where it is installed.
        fit: What a readout is fitted on, to time it.
        left_out: What a full run has and this one has not.
    """

    scenario: Scenario
    rounds: int = 10
    runs: int = 5
    threads: int = 2
    torch_threads: int = 2
    task_counts: tuple[int, ...] = tuple(range(1, 13))
    compiled: bool = True
    fit: FitScenario = field(default_factory=FitScenario)
    left_out: tuple[str, ...] = ()


QUICK = ServingSettings(
    Scenario("resnet18", 64),
    rounds=2,
    runs=3,
    torch_threads=1,
    task_counts=(1, 3, 6),
    fit=FitScenario(300, 900, 5, 100),
    left_out=(
        "ResNet-50 at 224 px: the networks are ResNet-18 at 64 px",
        "task counts other than 1, 3 and 6",
        "all but two rounds",
        "3,400 pictures of 15,104 features: a readout is fitted on 300 of 900",
    ),
)


@dataclass(frozen=True)
class Graphs:
    """The contenders as files, and how long the fused one took to export.

    Attributes:
        source: The source alone.
        whole: One whole network a task, the source among them.
        shared: The source and every delta, by layout.
        linear: The source and a linear classifier a task (the paper's FO).
        readouts: The source without its own head, and as many readouts as there are tasks.
        by_count: The summed graph by the number of tasks, the source's own included.
        export_s: Seconds to export the fused graph, the exporter's check included.
    """

    source: Path
    whole: list[Path]
    shared: dict[str, Path]
    linear: Path
    readouts: Path
    by_count: dict[int, Path]
    export_s: float


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and the JSON line; return the exit code."""
    options = _parse(arguments)
    settings = QUICK if options.quick else ServingSettings(Scenario())
    settings = replace(
        settings,
        rounds=options.rounds or settings.rounds,
        threads=options.threads,
        compiled=not options.no_rtx,
    )
    for item in settings.left_out:
        print(f"--quick leaves out: {item}")
    report = measure(settings)
    _print_table(report)
    line = json.dumps(report)
    if options.output:
        with atomic_write(options.output) as file:
            file.write(f"{line}\n".encode())
    print(line)
    return 0


def measure(settings: ServingSettings) -> dict[str, Any]:
    """Measure everything and return the report: plain JSON values, null where not measured."""
    torch.set_num_threads(settings.torch_threads)
    with tempfile.TemporaryDirectory(prefix="snow-serving-") as folder:
        _say(f"writing the graphs of {settings.scenario.architecture}")
        graphs = write_graphs(settings, Path(folder))
        costs = _multiply_adds(graphs)
        _say("timing them in ONNX Runtime")
        times = _latencies(graphs, settings)
        compiled = _compile_all(graphs) if settings.compiled else {}
        _say("fitting a readout")
        fit_s = time_fit(settings.fit)
    return {**assemble(settings, graphs, costs, times, compiled), "readout_fit_s": fit_s}


def write_graphs(settings: ServingSettings, folder: Path) -> Graphs:
    """Export every contender."""
    count = len(settings.scenario.task_classes)
    maker = GraphMaker(Fleet(settings.scenario), folder)
    source = maker.source()  # first, so that no warming up falls into the time below
    fused, export_s = maker.timed_export("fused", count)
    return Graphs(
        source=source,
        whole=maker.whole_models(count),
        shared={
            "fused": fused,
            "summed": maker.shared("summed", count),
            "separate": maker.shared("separate", count),
        },
        linear=maker.probes(count),
        by_count={
            number: source if number == 1 else maker.shared("summed", number - 1)
            for number in settings.task_counts
        },
        readouts=maker.readouts(count + 1),  # last: from here on the source pools its taps
        export_s=export_s,
    )


def assemble(
    settings: ServingSettings,
    graphs: Graphs,
    costs: Mapping[str, int],
    times: Mapping[str, float],
    compiled: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Put the figures together.

    Args:
        settings: Of this run.
        graphs: The contenders.
        costs: Multiply-adds by `source` and layout.
        times: Milliseconds by `source`, layout, `linear`, `readouts`, `separate_models` (their
            sum) and `tasks N`.
        compiled: What TensorRT-RTX made, by `source`, layout and `readouts`; empty without it.
    """
    layout = min(graphs.shared, key=lambda name: times[name])  # what `--layout auto` takes here
    shared = times[layout]
    models = times["separate_models"]
    by_count = {number: times[f"tasks {number}"] for number in graphs.by_count}
    task_ms = one_more_task(by_count)
    layers = {name: entry["compute_layers"] for name, entry in compiled.items()}
    builds = {name: entry["build_s"] for name, entry in compiled.items()}
    return {
        "benchmark": "serving",
        "architecture": settings.scenario.architecture,
        "image_size": settings.scenario.image_size,
        "tasks": len(settings.scenario.task_classes) + 1,
        "threads": settings.threads,
        "rounds": settings.rounds,
        "left_out": list(settings.left_out),
        "versions": _versions(),
        "compiled_layers_source": layers.get("source"),
        "compiled_layers_separate": layers.get("separate"),
        "compiled_layers_fused": layers.get("fused"),
        "compiled_layers_summed": layers.get("summed"),
        "compiled_layers_readout": layers.get("readouts"),
        "macs_over_source": costs["fused"] / costs["source"],
        "macs_over_source_summed": costs["summed"] / costs["source"],
        "macs_over_source_separate": costs["separate"] / costs["source"],
        "shared_layout": layout,
        "separate_models_over_shared": models / shared,
        **{f"separate_models_over_shared_{name}": models / times[name] for name in graphs.shared},
        "shared_over_source": shared / times["source"],
        "linear_over_source": times["linear"] / times["source"],
        "readout_over_source": times["readouts"] / times["source"],
        "ms": {name: times[name] for name in _CONTENDERS},
        "ms_by_tasks": {str(number): time_ms for number, time_ms in by_count.items()},
        "one_more_task_ms": task_ms,
        "one_more_task_over_source": None if task_ms is None else task_ms / times["source"],
        "rtx_target": TARGET if compiled else None,
        "rtx_build_s": builds.get("fused"),
        "rtx_build_separate_s": builds.get("separate"),
        "rtx": dict(compiled) or None,
        "export_s": graphs.export_s,
    }


def one_more_task(ms_by_tasks: Mapping[int, float]) -> float | None:
    """Return the slope of time over tasks by least squares, from two tasks on.

    The first step is another one: it is from no delta to a delta that has nobody to fuse with.
    """
    points = [(number, time_ms) for number, time_ms in ms_by_tasks.items() if number > 1]
    if len(points) < 2:
        return None
    numbers, times = zip(*points, strict=True)
    return float(np.polyfit(numbers, times, 1)[0])


_CONTENDERS = ("source", "linear", "readouts", "fused", "summed", "separate", "separate_models")


def _multiply_adds(graphs: Graphs) -> dict[str, int]:
    paths = {"source": graphs.source, **graphs.shared}
    return {name: measure_cost(onnx.load(path)).total.macs for name, path in paths.items()}


def _latencies(graphs: Graphs, settings: ServingSettings) -> dict[str, float]:
    """Time one picture through every graph, each in a session alone, in alternating rounds."""
    paths = {"source": graphs.source, "linear": graphs.linear, "readouts": graphs.readouts}
    paths |= graphs.shared
    paths |= {f"whole {number}": path for number, path in enumerate(graphs.whole)}
    paths |= {f"tasks {number}": path for number, path in graphs.by_count.items()}
    size = settings.scenario.image_size
    picture = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)

    def visitor(path: Path) -> Callable[[], float]:
        def visit() -> float:
            # Alone: the threads of another open session would go on spinning for a while.
            session = open_on_cpu(path, settings.threads)
            try:
                return fastest_ms(lambda: session.run(picture), warm_up=2, runs=settings.runs)
            finally:
                session.close()

        return visit

    # One visitor a file: the source is a whole model too, and the graph of one task.
    visits = {path: visitor(path) for path in paths.values()}
    best = alternate({str(path): visit for path, visit in visits.items()}, settings.rounds)
    times = {name: best[str(path)] for name, path in paths.items()}
    times["separate_models"] = sum(best[str(path)] for path in graphs.whole)
    return times


def _compile_all(graphs: Graphs) -> dict[str, dict[str, Any]]:
    """Compile the fp16 graphs for batch 1; nothing where TensorRT-RTX is not installed."""
    compiled = {}
    paths = {"source": graphs.source, **graphs.shared, "readouts": graphs.readouts}
    for name, path in paths.items():
        _say(f"compiling {name} with TensorRT-RTX for {TARGET}")
        content = to_fp16(onnx.load(path)).SerializeToString()
        try:
            compiled[name] = compile_graph(content, TARGET, batch=1).to_dict()
        except MissingDependencyError as error:
            print(f"no compiled layers: {error}")
            return {}
    return compiled


def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print_table(report: Mapping[str, Any]) -> None:
    print(
        f"\n{report['architecture']}, {report['image_size']} px, {report['tasks']} tasks, batch 1"
    )
    source_ms = report["ms"]["source"]
    print(f"\n{'ONNX Runtime, CPU':<34} {'ms':>9} {'/ source':>9}")
    for name, time_ms in report["ms"].items():
        print(f"{_TITLES[name]:<34} {time_ms:>9.2f} {time_ms / source_ms:>9.2f}")
    for number, time_ms in report["ms_by_tasks"].items():
        print(f"{f'summed, {number} tasks':<34} {time_ms:>9.2f} {time_ms / source_ms:>9.2f}")
    print()
    for key in _FIGURES:
        value = report[key]
        text = "not measured" if value is None else f"{value:.4g}"
        print(f"{key:<38} {text:>12}")
    print()


_TITLES = {
    "source": "source alone",
    "linear": "frozen source, linear classifiers",
    "readouts": "frozen source, readouts",
    "fused": "shared, fused deltas",
    "summed": "shared, summed deltas",
    "separate": "shared, separate deltas",
    "separate_models": "separate whole models, summed",
}
_FIGURES = (
    "compiled_layers_source",
    "compiled_layers_separate",
    "compiled_layers_fused",
    "compiled_layers_summed",
    "compiled_layers_readout",
    "macs_over_source",
    "macs_over_source_summed",
    "macs_over_source_separate",
    "separate_models_over_shared",
    "separate_models_over_shared_fused",
    "separate_models_over_shared_summed",
    "separate_models_over_shared_separate",
    "shared_over_source",
    "linear_over_source",
    "readout_over_source",
    "one_more_task_ms",
    "one_more_task_over_source",
    "rtx_build_s",
    "rtx_build_separate_s",
    "export_s",
    "readout_fit_s",
)


def _say(what: str) -> None:
    print(f"{what} ...", flush=True)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small networks, within a minute")
    parser.add_argument("--rounds", type=_positive, help="visits to each contender")
    parser.add_argument("--threads", type=_positive, default=2, help="of ONNX Runtime (default: 2)")
    parser.add_argument("--no-rtx", action="store_true", help="do not compile with TensorRT-RTX")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write the JSON here too")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        msg = f"{number} is not positive"
        raise argparse.ArgumentTypeError(msg)
    return number


if __name__ == "__main__":
    sys.exit(main())
