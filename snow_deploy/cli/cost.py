"""`snow-deploy cost`: what a graph costs, counted on any machine."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import PATH, json_option
from snow_deploy.cli.tables import billion, columns, megabytes, million, shortened
from snow_runtime.engine.backend import TARGETS
from snow_runtime.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_export.inspect.cost import GraphCost
    from snow_runtime.graph.onnx_file import GraphFile

_NAMES_WIDTH = 72  # characters


@click.command("cost")
@click.argument("graph", type=PATH)
@click.option(
    "--target",
    type=click.Choice([*TARGETS, "none"]),
    default="sm86",
    help="GPU to compile for with TensorRT-RTX, if it is installed; none compiles nothing.",
)
@json_option
def command(graph: Path, target: str, *, as_json: bool) -> None:
    """Count what GRAPH, an ONNX file, costs: by owner, and compiled.

    Multiply-adds of one picture, parameters and bytes are counted for the source, for each task
    or group of fused deltas. Where TensorRT-RTX is installed, the graph is compiled for a GPU
    that need not be there, and the layers that launch a kernel are counted by kind.
    """
    from snow_export.inspect.cost import measure_cost
    from snow_runtime.graph.onnx_file import read_graph

    file = read_graph(graph)
    cost = measure_cost(file.skeleton, file.tasks)
    compiled, note = _compile(file, cost, target)
    if as_json:
        document = {"graph": str(graph), "file_bytes": file.size_bytes, **cost.to_dict()}
        click.echo(json.dumps({**document, "compiled": compiled, "note": note}, indent=2))
        return
    for line in _lines(cost):
        click.echo(line)
    click.echo()
    for line in _compiled_lines(compiled) if compiled else [f"note: {note}"]:
        click.echo(line)


def _compile(
    file: GraphFile, cost: GraphCost, target: str
) -> tuple[dict[str, Any] | None, str | None]:
    """Compile the graph; without the compiler, or with `none`, say why there is nothing."""
    from snow_runtime.engine.build import compile_graph

    if target == "none":
        return None, "nothing was compiled, as --target none asks"
    try:
        content, beside = file.serialised()
        compiled = compile_graph(content, target, beside=beside)
    except MissingDependencyError as error:
        return None, str(error)
    owners = Counter(cost.owner_of_layer(layer.nodes) for layer in compiled.compute_layers)
    return {**compiled.to_dict(), "by_owner": dict(owners.most_common())}, None


def _lines(cost: GraphCost) -> Iterator[str]:
    rows = [("owner", "multiply-adds", "parameters", "constants", "nodes")]
    rows += [
        (
            row.owner,
            billion(row.macs),
            million(row.parameters),
            megabytes(row.size_bytes),
            str(row.nodes),
        )
        for row in (*cost.owners, cost.total)
    ]
    yield from columns(rows)
    for owner, tasks in cost.tasks.items():
        if "+" in owner and owner != "+".join(tasks):
            yield f"{owner} answers {shortened(tasks, _NAMES_WIDTH)}"
    if cost.macs_over_source is not None:
        yield f"multiply-adds over the source's: {cost.macs_over_source:.4f}"
    batch = "" if cost.batch == 1 else f" and divided by the graph's own batch, {cost.batch}"
    yield (
        "Conv, Gemm and MatMul count, one multiply-add a product; shapes by ONNX's shape "
        f"inference at batch {cost.batch}{batch}."
    )
    if cost.uncounted:
        listed = ", ".join(f"{name} ({count})" for name, count in cost.uncounted.items())
        yield f"not counted, though they multiply or may: {listed}"


def _compiled_lines(compiled: dict[str, Any]) -> Iterator[str]:
    yield (
        f"TensorRT-RTX {compiled['version']} for {', '.join(compiled['targets'])}, batch "
        f"{compiled['batch']}: {compiled['compute_layers']} compute layers, compiled in "
        f"{compiled['build_s']:.1f} s, plan {megabytes(compiled['plan_bytes'])}"
    )
    for key, what in (("by_kind", "kind"), ("by_dtype", "type"), ("by_owner", "owner")):
        counts = ", ".join(f"{name or 'none'} {count}" for name, count in compiled[key].items())
        yield f"  by {what:<6} {counts}"
    yield f"  besides: {compiled['synchronisation_layers']} signal and wait, which launch nothing"
