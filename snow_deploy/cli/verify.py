"""`snow-deploy verify`: a graph beside the networks that it was exported from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import PATH, json_option, store_option

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from snow_export.verification import Verification

_PICTURES = 16


@click.command("verify")
@click.argument("graph", type=PATH)
@store_option
@click.option(
    "--data",
    metavar="KIND:PATH",
    help="Pictures to compare on, as for `train`.  [default: the tasks' own samples]",
)
@click.option(
    "--batch-sizes", default="1,3,8", help="Batch sizes to compare at, separated by commas."
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    graph: Path,
    root: Path,
    data: str | None,
    batch_sizes: str,
    *,
    as_json: bool,
) -> None:
    """Compare GRAPH with the trained networks of its store, step by step.

    The steps: trained torch, frozen torch, separate fp32, fused fp32, fused fp16, the file. Each
    is compared with trained torch. Allowed error, relative to the task's largest logit: 1e-4 in
    fp32, 2e-2 in fp16. The exit code is 1 where a step fails.
    """
    from snow_calibration.report import finite
    from snow_deploy.stages.export import verify_graph
    from snow_deploy.training.store import Store

    sizes = _sizes(batch_sizes)
    store = Store(root)
    found = verify_graph(store, graph, sizes, None if data is None else _pictures(graph, data))
    if as_json:
        click.echo(json.dumps(finite(_document(found)), indent=2, allow_nan=False))
    else:
        _print(found)
    if not found.holds:
        context.exit(1)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        msg = f"{text!r} is no list of batch sizes; write for instance 1,3,8"
        raise click.BadParameter(msg, param_hint="--batch-sizes")
    return sizes


def _pictures(graph: Path, spec: str) -> NDArray[np.uint8]:
    """Read pictures as the graph takes them."""
    from snow_deploy.data import open_data
    from snow_deploy.stages.export import manifest_to_verify
    from snow_deploy.training.measure import held_out_samples

    preprocessing = manifest_to_verify(graph).preprocessing
    return held_out_samples(open_data(spec).final[1], preprocessing, _PICTURES).numpy()


def _document(found: Verification) -> dict[str, Any]:
    rungs = [{**asdict(rung), "holds": rung.holds} for rung in found.rungs]
    return {
        "holds": found.holds,
        "rungs": rungs,
        "diverges": found.diverges,
        "notes": list(found.notes),
    }


def _print(found: Verification) -> None:
    from snow_export.inspect.owners import FEATURES

    click.echo(
        f"{'step':<15} {'batch':>5}  {'task':<16} {'error':>8} {'allowed':>8} {'cosine':>9} top-1"
    )
    for rung in found.rungs:
        for task in rung.tasks:
            mark = "" if task.is_within(rung.tolerance) else "  FAILS"
            same = "-" if task.task == FEATURES else f"{task.same_top1:.0%}"
            click.echo(
                f"{rung.name:<15} {rung.batch:>5}  {task.task:<16} {task.relative_error:>8.1e} "
                f"{rung.tolerance:>8.0e} {task.cosine:>9.6f} {same}{mark}"
            )
    for note in found.notes:
        click.echo(f"note: {note}")
    if found.diverges is not None:
        name, error = found.diverges
        click.echo(f"the file first differs from a new export at {name} (error {error:.1e})")
