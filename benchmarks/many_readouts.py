"""What many readouts in one graph cost: time and memory a task, over those of the source.

    python -m benchmarks.many_readouts [--quick] [--threads 1] [--rounds 10] [--output FILE.json]

ResNet-50 at 224 px with its own head, and the same with 6, 24, 100 and 400 readouts of 1,024
features each, in ONNX Runtime on a CPU at fp32. The graphs take turns. The time is processor time
of all threads, the least of the rounds. The memory is the most that a process of its own holds
which answers by the graph. Both are given as a share of the source's, in per cent a task. The last
printed line is one JSON object. It exits 1 where 24 readouts or more cost over 0.2 % of the
source's time a task.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks._clock import alternate
from benchmarks._graph_memory import graph_memory
from benchmarks._graphs import GraphMaker, open_on_cpu
from benchmarks._scenario import Fleet, Scenario
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIMIT_PERCENT: Final = 0.2
"""Most that a task may add to the source's time, where many share what all readouts need."""
MANY: Final = 24
_PRODUCTS: Final = frozenset({"Gemm", "MatMul"})


@dataclass(frozen=True)
class ManySettings:
    """What is measured.

    Attributes:
        scenario: The source; the readouts have its tasks' classes, in turn.
        counts: How many readouts the graphs have beside the source's own head.
        rounds: Turns of each graph.
        runs: Pictures in each turn.
        threads: Threads of ONNX Runtime.
    """

    scenario: Scenario = field(default_factory=lambda: Scenario(task_classes=(2, 3, 5, 10)))
    counts: tuple[int, ...] = (6, 24, 100, 400)
    rounds: int = 10
    runs: int = 3
    threads: int = 1


_FULL: Final = ManySettings()
_QUICK: Final = ManySettings(
    Scenario("resnet18", 64, source_classes=10, task_classes=(2, 3)), (6, 24), rounds=2, runs=1
)


def main(arguments: list[str] | None = None) -> int:
    """Write the graphs, measure, print a table, return the exit code."""
    parser = argparse.ArgumentParser(description="What many readouts in one graph cost.")
    parser.add_argument("--quick", action="store_true", help="small graphs, for a try")
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime")
    parser.add_argument("--rounds", type=int, help="turns of each graph")
    parser.add_argument("--output", type=Path, help="also write the JSON object to a file")
    chosen = parser.parse_args(arguments)
    settings = replace(_QUICK if chosen.quick else _FULL, threads=chosen.threads)
    report = measure(replace(settings, rounds=chosen.rounds or settings.rounds))
    _print_table(report)
    document = json.dumps(report)
    if chosen.output:
        chosen.output.write_text(document + "\n", encoding="utf-8")
    print(document)
    return 0 if report["within_limit"] else 1


def measure(settings: ManySettings) -> dict[str, Any]:
    """Return the figures of the source and of each number of readouts."""
    side = settings.scenario.image_size
    with tempfile.TemporaryDirectory() as folder:
        maker = GraphMaker(Fleet(settings.scenario), Path(folder))
        paths, rows = {0: maker.source()}, dict[int, dict[str, Any]]()
        for count in settings.counts:
            started = time.perf_counter()
            paths[count] = maker.readouts(count, own_head=True)
            rows[count] = {"export_s": time.perf_counter() - started}
        for count, path in paths.items():
            memory = graph_memory(path, side, settings.threads)
            rows.setdefault(count, {}).update(_counts(path), memory_bytes=memory)
        for count, spent in _times(paths, settings).items():
            rows[count]["processor_ms"] = spent
    source = rows[0]
    for count in settings.counts:
        rows[count] |= {
            "time_percent_a_task": _share(rows[count], source, "processor_ms", count),
            "memory_percent_a_task": _share(rows[count], source, "memory_bytes", count),
            "more_gathers": rows[count]["gathers"] - source["gathers"],
            "more_products": rows[count]["products"] - source["products"],
        }
    many = [rows[count]["time_percent_a_task"] for count in settings.counts if count >= MANY]
    return {
        "architecture": settings.scenario.architecture,
        "image_size": side,
        "classes": list(settings.scenario.task_classes),
        "threads": settings.threads,
        "readouts": {str(count): row for count, row in sorted(rows.items())},
        "limit_percent": LIMIT_PERCENT,
        "within_limit": all(share < LIMIT_PERCENT for share in many),
    }


def _counts(path: Path) -> dict[str, Any]:
    kinds = [node.op_type for node in read_graph(path).model.graph.node]
    return {
        "gathers": kinds.count("Gather"),
        "products": sum(kind in _PRODUCTS for kind in kinds),
        "file_bytes": sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")),
    }


def _share(
    row: Mapping[str, Any], source: Mapping[str, Any], figure: str, count: int
) -> float | None:
    """Return how much more a figure is than the source's, in per cent of that, for each task."""
    if row[figure] is None or source[figure] is None:
        return None
    return 100 * (row[figure] / source[figure] - 1) / count


def _times(paths: Mapping[int, Path], settings: ManySettings) -> dict[int, float]:
    """Return the least processor time of each graph, in milliseconds a picture, by turns."""
    side = settings.scenario.image_size
    image = np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32)

    def visitor(path: Path) -> Callable[[], float]:
        session = open_on_cpu(path, settings.threads)
        session.run(image)

        def visit() -> float:
            best = float("inf")
            for _ in range(settings.runs):
                started = time.process_time()
                session.run(image)
                best = min(best, time.process_time() - started)
            return 1e3 * best

        return visit

    visits = {str(count): visitor(path) for count, path in paths.items()}
    return {int(name): spent for name, spent in alternate(visits, settings.rounds).items()}


def _print_table(report: Mapping[str, Any]) -> None:
    print(f"{'readouts':>8} {'ms':>9} {'% a task':>9} {'MB':>8} {'% a task':>9} {'export s':>9}")
    for count, row in report["readouts"].items():
        memory = row["memory_bytes"]
        print(
            f"{count:>8} {row['processor_ms']:>9.2f} {_shown(row.get('time_percent_a_task'))} "
            f"{'' if memory is None else format(memory / 1e6, '.1f'):>8} "
            f"{_shown(row.get('memory_percent_a_task'))} {row.get('export_s', 0):>9.1f}"
        )


def _shown(share: float | None) -> str:
    return f"{'' if share is None else format(share, '.3f'):>9}"


if __name__ == "__main__":
    sys.exit(main())
