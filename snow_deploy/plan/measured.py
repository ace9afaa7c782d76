"""Measured times in the place of predicted ones: what `bench --json` printed on a device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final, get_args

from snow_deploy.errors import PlanError
from snow_deploy.plan.json_file import WRONG, read_json, reason_of
from snow_runtime.graph.manifest import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from snow_deploy.plan.search import Choice
    from snow_deploy.plan.variants import Candidates

_CPU: Final = "CPUExecutionProvider"
_NEEDED: Final = ("precision", "source_sha256", "task_sha256")


@dataclass(frozen=True)
class MeasuredGraph:
    """A graph or engine that was measured.

    Attributes:
        name: Name of its file.
        source_sha256: Fingerprint of its source.
        tasks: Fingerprints of its tasks' weights.
        precision: Precision that it was measured in.
        batch: Pictures of a call.
        ms: Median time of the session's run, in milliseconds, without preparing the picture.
        machine: What it was measured on, in a few words.
        path: Path of the file that says so.
    """

    name: str
    source_sha256: str
    tasks: frozenset[str]
    precision: Precision
    batch: int
    ms: float
    machine: str
    path: str


@dataclass(frozen=True)
class Measurements:
    """What was read of measurements.

    Attributes:
        graphs: The graphs that can be told.
        notes: What could not be used, and why.
    """

    graphs: tuple[MeasuredGraph, ...] = ()
    notes: tuple[str, ...] = ()


def read_measurements(paths: Iterable[Path]) -> Measurements:
    """Read what `bench --json` printed.

    Raises:
        PlanError: A file cannot be read, or is not of `bench --json`.
    """
    found = [each for path in paths for each in _read(path)]
    return Measurements(
        tuple(each for each in found if isinstance(each, MeasuredGraph)),
        tuple(each for each in found if isinstance(each, str)),
    )


def _read(path: Path) -> list[MeasuredGraph | str]:
    """Return the graphs of a file, and a note for each that cannot be used."""
    found: list[MeasuredGraph | str] = []
    try:
        document = read_json(path)
        batch = int(document["options"]["batch"])
        for entry in document["contenders"]:
            graph = _graph(entry, batch, _machine(document["machine"], entry), path)
            found.append(f"{path}: {entry['name']} {graph}" if isinstance(graph, str) else graph)
    except WRONG as error:
        msg = (
            f"{path} is no measurement that can be read ({reason_of(error)}), expected what "
            "'snow-deploy bench --json' prints. Measure again: snow-deploy bench snow.engine "
            "--json > FILE."
        )
        raise PlanError(msg) from error
    return found


def match_measurements(
    candidates: Candidates, measurements: Measurements, batch: int
) -> tuple[dict[Precision, dict[Choice, MeasuredGraph]], list[str]]:
    """Find the combinations that were measured.

    Args:
        candidates: What may be combined.
        measurements: Measurements to look through; of two of one combination the faster counts.
        batch: Pictures of a run.

    Returns:
        The measured graphs by precision and combination; a note for each that is not used.
    """
    hashes = [[it.record.fingerprint() for it in task.variants] for task in candidates.tasks]
    source = candidates.source_sha256
    found: dict[Precision, dict[Choice, MeasuredGraph]] = {}
    notes = []
    for graph in measurements.graphs:
        choices = _choices_of(graph, hashes)
        if graph.source_sha256 != source:
            notes.append(f"{graph.path}: {graph.name} is of another source; it is not used")
        elif graph.batch != batch:
            notes.append(
                f"{graph.path}: {graph.name} was measured at batch {graph.batch}, and this plan "
                f"is for {batch}; it is not used"
            )
        elif not choices:
            notes.append(f"{graph.path}: {graph.name} is none of the combinations; it is not used")
        for choice in choices if graph.source_sha256 == source and graph.batch == batch else ():
            of_precision = found.setdefault(graph.precision, {})
            if choice not in of_precision or graph.ms < of_precision[choice].ms:
                of_precision[choice] = graph
    return found, notes


def _choices_of(graph: MeasuredGraph, hashes: list[list[str]]) -> list[Choice]:
    """Return the combinations that are a graph's tasks: one, unless weights are equal."""
    if len(graph.tasks) != len(hashes):
        return []
    numbers = [[n for n, it in enumerate(row) if it in graph.tasks] for row in hashes]
    return [
        choice
        for choice in product(*numbers)
        if {row[n] for row, n in zip(hashes, choice, strict=True)} == graph.tasks
    ]


def _graph(entry: dict[str, Any], batch: int, machine: str, path: Path) -> MeasuredGraph | str:
    """Return a contender, or why it cannot be used."""
    inference = entry["stages"]["inference"]
    if inference is None:
        return "was not measured to an end; it is not used"
    if any(key not in entry for key in _NEEDED):
        return (
            "was measured by an older version, which does not say what is in a graph; measure it "
            "again to have it used"
        )
    precision, ms = entry["precision"], float(inference["p50_ms"])
    if precision not in get_args(Precision) or not (ms > 0 and math.isfinite(ms)):
        msg = f"precision {precision!r} and {ms} ms"
        raise ValueError(msg)
    hashes = entry["task_sha256"].values()
    if None in hashes:
        return "answers the source's own classes too, which no plan has; it is not used"
    tasks = frozenset(map(str, hashes))
    source = str(entry["source_sha256"])
    return MeasuredGraph(
        str(entry["name"]), source, tasks, precision, batch, ms, machine, str(path)
    )


def _machine(found: dict[str, Any], entry: dict[str, Any]) -> str:
    """Say in a few words what a contender ran on: of a machine with a GPU it may be the CPU."""
    jetson = (found.get("jetson") or {}).get("model")
    processor = found.get("processor")
    if entry.get("providers") == [_CPU]:
        return f"{jetson}'s CPU" if jetson else str(processor or "a CPU")
    gpus: Iterator[str] = (str(gpu["name"]) for gpu in found.get("gpus") or ())
    return str(jetson or next(gpus, None) or processor or "?")


def machines_of(graphs: Iterable[MeasuredGraph]) -> list[str]:
    """Return what measurements were made on, each machine once."""
    return list(dict.fromkeys(graph.machine for graph in graphs))


def machine_notes(
    found: Mapping[Precision, Mapping[Choice, MeasuredGraph]], device: str | None
) -> list[str]:
    """Say whose times stand beside each other, where that may not be one machine's.

    Args:
        found: The measurements that are used.
        device: Title of the device that the others are predicted for; None without one.
    """
    machines = machines_of(graph for by in found.values() for graph in by.values())
    named = ", ".join(machines)
    if machines and device is not None:
        return [f"what is measured was measured on {named}, and is taken for the {device}'s"]
    if len(machines) > 1:
        return [f"the measured times are of several machines: {named}"]
    return []
