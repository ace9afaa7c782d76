"""`snow-deploy inspect`: what a store, one of its files or a graph holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import PATH
from snow_deploy.cli.tables import billion, columns, megabytes, million, short_hash, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from snow_export.inspect.inspection import EngineFacts, GraphFacts, Inspection
    from snow_runtime.graph.confidence_entry import ConfidenceEntry
    from snow_runtime.graph.manifest import Preprocessing, TaskEntry

_LABELS_WIDTH = 44  # characters


@click.command("inspect")
@click.argument("path", metavar="FILE", type=PATH)
@click.option("--indices", is_flag=True, help="List every subscription's channels in full.")
@click.option(
    "--int8",
    is_flag=True,
    help="Check an INT8 graph, of any origin, by TensorRT's rules instead; exit code 1 where it "
    "breaks one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, nothing shortened.")
@click.pass_context
def command(
    context: click.Context, path: Path, *, indices: bool, int8: bool, as_json: bool
) -> None:
    """Tell what FILE holds: a store's folder, a source or task in it, a graph, engine or readout.

    Tasks and labels, shapes, preprocessing, layout and precision, parameters and multiply-adds,
    subscriptions, hashes, metrics and versions. Only stores need torch.
    """
    from snow_deploy.stages.inspect_path import inspect_path

    if int8:
        context.exit(_check_int8(path, as_json=as_json))
    found = inspect_path(path)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    for line in _lines(found, indices=indices):
        click.echo(line)


def _check_int8(path: Path, *, as_json: bool) -> int:
    """Print what breaks the rules of INT8 graphs; return the exit code."""
    from snow_calibration.lint import lint
    from snow_runtime.graph.onnx_file import read_graph

    findings = lint(read_graph(path).skeleton)
    if as_json:
        document = {"path": str(path), "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(document, indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.rule}: {finding.node}: {finding.message}")
        click.echo(f"{path}: {len(findings) or 'no'} findings")
    return 1 if findings else 0


def _lines(found: Inspection, *, indices: bool) -> Iterator[str]:
    digest = "" if found.sha256 is None else f", sha256 {short_hash(found.sha256)}"
    yield f"{found.path}  {found.kind}, {megabytes(found.size_bytes)}{digest}"
    if found.graph is not None:
        yield from _graph_lines(found.graph)
    if found.engine is not None:
        yield from _engine_lines(found.engine)
    if found.features is not None:
        taps = found.features.taps
        yield f"features  {found.features.output!r}, {found.features.width} of {len(taps)} taps"
    if found.fit is not None:
        yield (
            f"fitted  on {found.fit.pictures} pictures, accuracy {found.fit.accuracy:.3g} ± "
            f"{found.fit.standard_error:.2g} by cross-validation, penalty {found.fit.penalty:g}"
        )
    if found.source is not None:
        origin = f", from {found.source_origin}" if found.source_origin else ""
        yield (
            f"source  {found.source.architecture}, {million(found.source.parameters)} parameters, "
            f"sha256 {short_hash(found.source.sha256)}{origin}"
        )
    for names, preprocessing in _grouped(found.preprocessing):
        yield f"picture  {_recipe(preprocessing)}  ({names})"
    for task in found.tasks:
        yield ""
        yield from _task_lines(found, task, indices=indices)
    if found.shares:
        yield ""
        yield from _share_lines(found)
    if found.versions:
        yield f"versions  {', '.join(f'{name} {v}' for name, v in found.versions.items())}"
    yield from (f"note: {note}" for note in found.notes)


def _graph_lines(graph: GraphFacts) -> Iterator[str]:
    entry = graph.input
    yield (
        f"graph  {graph.layout} deltas, {graph.precision}, opset {graph.opset}, {graph.nodes} nodes"
    )
    if graph.quantisation is not None:
        made = graph.quantisation
        kept = (
            f", {len(made.kept)} kept in {made.rest}: {', '.join(made.kept)}" if made.kept else ""
        )
        yield (
            f"INT8  {made.layers} layers{kept}, the rest {made.rest}; ranges by {made.method} on "
            f"{made.samples} pictures, from the graph {short_hash(made.graph_sha256)}"
        )
    yield f"input  {', '.join(map(str, graph.inputs))}, {entry.layout}, {entry.colour}"
    yield f"outputs  {', '.join(map(str, graph.outputs))}"


def _engine_lines(engine: EngineFacts) -> Iterator[str]:
    targets = ", ".join(engine.options["targets"])
    yield f"built  by {engine.built_by} on {engine.built_on}{f' for {targets}' if targets else ''}"
    yield f"  at {engine.built_at} in {engine.build_s:.1f} s, from {engine.graph}"
    found = engine.achieved
    yield (
        f"engine  {engine.layout} deltas, {found['precision']}: {found['in_precision']} of "
        f"{found['convolutions']} convolutions in it, {engine.compute_layers} compute layers"
    )
    for name, (least, best, most) in engine.inputs.items():
        yield f"input  {name!r} {list(least)} to {list(most)}, tuned for {list(best)}"


def _recipe(preprocessing: Preprocessing) -> str:
    size, how = preprocessing.image_size, preprocessing.interpolation
    resized = "" if how == "bilinear" else f" ({how})"
    return (
        f"short side to {preprocessing.resize_size}{resized}, centre {size} x {size}, "
        f"mean {_triple(preprocessing.mean)}, std {_triple(preprocessing.std)}"
    )


def _triple(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _grouped(of_task: dict[str, Preprocessing]) -> list[tuple[str, Preprocessing]]:
    """Say once what several tasks share."""
    groups: dict[Preprocessing, list[str]] = {}
    for name, preprocessing in of_task.items():
        groups.setdefault(preprocessing, []).append(name)
    return [(", ".join(names), preprocessing) for preprocessing, names in groups.items()]


def _task_lines(found: Inspection, task: TaskEntry, *, indices: bool) -> Iterator[str]:
    yield f"task {task.name}  sha256 {short_hash(task.sha256)}"
    several = ", several at once" if task.answers == "several" else ""
    yield f"  {len(task.labels)} labels{several}  {shortened(task.labels, _LABELS_WIDTH)}"
    if task.scheme not in {None, "snow"}:
        yield f"  scheme {task.scheme}"
    if task.scheme == "readout" and task.selections:
        yield f"  {_counted(task.selections)}"
    elif task.selections:
        counts = [len(selection) for selection in task.selections.values()]
        yield (
            f"  {len(counts)} subscriptions  K {min(counts)} to {max(counts)}, N/K "
            f"{task.k_divisor}, widths over {task.width_divisor}"
        )
    if task.tap_selections:
        yield f"  classifier  {_counted(task.tap_selections)}"
    if task.blocks is not None:
        yield f"  blocks  {task.blocks} of each stage"
    if task.from_stage is not None:
        yield f"  begins  with the source's stage {task.from_stage}"
    if indices:
        rows = [
            (f"    {name}", f"K {len(chosen)} ", " ".join(map(str, chosen)))
            for name, chosen in {**task.selections, **task.tap_selections}.items()
        ]
        yield from columns(rows, left=3)
    if task.metrics:
        yield f"  metrics  {', '.join(f'{name} {v:g}' for name, v in task.metrics.items())}"
    yield from _trust(task.confidence)
    training = found.training.get(task.name)
    if training is not None:
        options = training.options
        yield (
            f"  {_course(options)}, on the "
            f"source {short_hash(training.source_sha256)}; {training.samples} samples"
        )


def _trust(found: ConfidenceEntry | None) -> Iterator[str]:
    """Say how far a task's answers can be trusted; nothing where that is not known."""
    if found is None:
        return
    said = (
        f"  temperature  {found.temperature:g} by {found.pictures} pictures ({found.held_out_from})"
    )
    if found.least_probability is not None:
        said += f"; below {found.least_probability:.1%} unsure, for {found.right_share:g} right"
    if found.familiarity is not None:
        said += f"; pictures unlike {found.familiarity.pictures} trained on are unknown"
    yield said


def _course(options: Mapping[str, Any]) -> str:
    """Say how a task was trained, as far as that is known."""
    if "trained_by" in options:
        return f"trained  by {options['trained_by']}"
    course = f"trained  {options['epochs']} epochs, batch {options['batch_size']}"
    return f"{'fitted' if options['scheme'] == 'readout' else course}, seed {options['seed']}"


def _counted(by_tap: dict[str, tuple[int, ...]]) -> str:
    """Say how many features of which taps are read."""
    chosen_of = ", ".join(f"{name} {len(each)}" for name, each in by_tap.items())
    return f"reads {sum(map(len, by_tap.values()))} features  {chosen_of}"


def _share_lines(found: Inspection) -> Iterator[str]:
    rows = [("owner", "parameters", "multiply-adds", "at")]
    rows += [
        (row.owner, million(row.parameters), billion(row.macs), f"{row.image_size} px")
        for row in found.shares
    ]
    yield from columns(rows)
