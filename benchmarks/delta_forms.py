"""What forms of a delta and other schemes cost: compiled layers, arithmetic, parameters, time.

    python -m benchmarks.delta_forms [--quick] [--rounds 10] [--output FILE.json]

Six tasks on a ResNet-50 at 224 px, fused, the source's own head one of them, networks as in
`serving.py`: the costs are those of trained networks, the accuracies are not. Beside the forms
stand the paper's other schemes and readouts, five networks of each in the same graph. Layers are
TensorRT-RTX's at fp16 for SM86, batch 1; without it there are none. The time is ONNX Runtime's
with one thread, fp32, in the thread's own processor seconds over the source's, each the least of
the rounds, which the contenders take in turns. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks._clock import alternate
from benchmarks._graphs import GraphMaker, open_on_cpu
from benchmarks._scenario import Fleet, Scenario
from snow_deploy.models.options import DeltaOptions
from snow_export.inspect.cost import measure_cost
from snow_runtime.engine.build import compile_graph
from snow_runtime.errors import MissingDependencyError
from snow_runtime.graph.half_precision import to_fp16
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snow_deploy.models.network import Scheme

_TAPS: Final = DeltaOptions(classifier_reads="taps")
FORMS: Final = {
    "the paper's": DeltaOptions(),
    "blocks 2": DeltaOptions(blocks=2),
    "blocks first": DeltaOptions(blocks=1),
    "from stage 1, blocks first": DeltaOptions(from_stage=1, blocks=1),
    "from stage 3": DeltaOptions(from_stage=3),
    "from stage 3, blocks 2": DeltaOptions(from_stage=3, blocks=2),
    "from stage 3, blocks first": DeltaOptions(from_stage=3, blocks=1),
    "from stage 4": DeltaOptions(from_stage=4),
    "from stage 4, blocks first": DeltaOptions(from_stage=4, blocks=1),
    "taps": _TAPS,
    "taps, from stage 1, blocks first": replace(_TAPS, from_stage=1, blocks=1),
    "taps, from stage 3, blocks 2": replace(_TAPS, from_stage=3, blocks=2),
    "taps, from stage 3, blocks first": replace(_TAPS, from_stage=3, blocks=1),
    "taps, from stage 4": replace(_TAPS, from_stage=4),
    "taps, from stage 4, blocks first": replace(_TAPS, from_stage=4, blocks=1),
}
SCHEMES: Final[tuple[Scheme, ...]] = ("fo", "readout", "fe", "mp", "pn", "ft")
_FULL: Final = Scenario()
_QUICK: Final = Scenario(
    architecture="resnet18", image_size=64, source_classes=10, task_classes=(5, 7)
)


def main(arguments: list[str] | None = None) -> int:
    """Count and time, print a table, return the exit code."""
    parser = argparse.ArgumentParser(description="What the forms of a delta cost.")
    parser.add_argument("--quick", action="store_true", help="small networks, for a try")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each graph; 0 times none")
    parser.add_argument(
        "--only", action="append", choices=[*FORMS, *SCHEMES], help="this one; once for each"
    )
    parser.add_argument("--output", type=Path, help="also write the JSON object to a file")
    chosen = parser.parse_args(arguments)
    names = chosen.only or [*FORMS, *SCHEMES]
    forms = {name: FORMS[name] for name in names if name in FORMS}
    schemes = [scheme for scheme in SCHEMES if scheme in names]
    report = measure(_QUICK if chosen.quick else _FULL, forms, chosen.rounds, schemes)
    _print_table(report)
    document = json.dumps(report)
    if chosen.output:
        chosen.output.write_text(document + "\n", encoding="utf-8")
    print(document)
    return 0


def measure(
    scenario: Scenario, forms: dict[str, DeltaOptions], rounds: int, schemes: Sequence[Scheme] = ()
) -> dict[str, Any]:
    """Return the figures of the source alone, of each form and of each other scheme, by name."""
    contenders: list[tuple[str, Scheme, Scenario]] = [
        *((name, "snow", replace(scenario, delta=delta)) for name, delta in forms.items()),
        *((scheme, scheme, scenario) for scheme in schemes),
    ]
    rows: dict[str, dict[str, Any]] = {}
    tasks = len(scenario.task_classes)
    with tempfile.TemporaryDirectory() as folder:
        graphs = {"the source alone": GraphMaker(Fleet(scenario), Path(folder)).source()}
        rows["the source alone"] = _counts(graphs["the source alone"])
        for number, (name, scheme, given) in enumerate(contenders):
            fleet = Fleet(given)
            inside = Path(folder) / str(number)
            networks = fleet.deltas(tasks) if scheme == "snow" else fleet.of_scheme(scheme, tasks)
            graphs[name] = GraphMaker(fleet, inside).beside("networks", networks)
            parameters = sum(
                weight.numel()
                for network in networks.values()
                for weight in network.parameters()
                if weight.requires_grad
            )
            rows[name] = {**_counts(graphs[name]), "parameters": parameters}
        times = _times(graphs, scenario.image_size, rounds) if rounds else {}
    for name, spent in times.items():
        rows[name]["cpu_over_source"] = spent / times["the source alone"]
    return {"architecture": scenario.architecture, "forms": rows}


def _counts(path: Path) -> dict[str, Any]:
    graph = read_graph(path)
    cost = measure_cost(graph.skeleton, graph.tasks)
    found: dict[str, Any] = {"macs_over_source": cost.macs_over_source, "layers": None}
    try:
        compiled = compile_graph(to_fp16(graph.model).SerializeToString())
    except MissingDependencyError:
        return found
    return {
        **found,
        "layers": len(compiled.compute_layers),
        "waits": compiled.to_dict()["synchronisation_layers"],
    }


def _times(graphs: dict[str, Path], size: int, rounds: int) -> dict[str, float]:
    """Return the least processor time of each graph, in milliseconds, by turns."""
    image = np.random.default_rng(0).standard_normal((1, 3, size, size), np.float32)

    def visitor(path: Path) -> Callable[[], float]:
        session = open_on_cpu(path, threads=1)
        session.run(image)

        def visit() -> float:
            started = time.process_time()
            session.run(image)
            return 1e3 * (time.process_time() - started)

        return visit

    return alternate({name: visitor(path) for name, path in graphs.items()}, rounds)


def _print_table(report: dict[str, Any]) -> None:
    print(f"{'form':<34} {'layers':>6} {'multiply-adds':>13} {'parameters':>11} {'CPU time':>8}")
    for name, row in report["forms"].items():
        parameters = f"{row['parameters'] / 1e6:.2f} M" if "parameters" in row else ""
        spent = f"{row['cpu_over_source']:.3f}" if "cpu_over_source" in row else ""
        layers = "" if row["layers"] is None else row["layers"]
        macs = f"{row['macs_over_source']:.3f}" if row["macs_over_source"] else ""
        print(f"{name:<34} {layers:>6} {macs:>13} {parameters:>11} {spent:>8}")


if __name__ == "__main__":
    sys.exit(main())
