"""`snow-deploy plan`: which form of each task a device has time for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from snow_deploy.cli.options import AT_LEAST_ONE, FILE, FiniteRange, json_option, store_option
from snow_deploy.cli.progress import progress_bar

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.plan.accuracy import Basis
    from snow_runtime.graph.manifest import Precision

_ABOVE_NOTHING = FiniteRange(min=0, min_open=True)


@click.command("plan")
@click.option(
    "--task",
    "tasks",
    metavar="NAME=VARIANT,VARIANT…",
    multiple=True,
    help="A task, and the stored tasks that may answer it: TASK of --store, or STORE/TASK; once "
    "for each.  [default: all of the store, those of the same labels and pictures as one]",
)
@store_option
@click.option(
    "--device",
    metavar="NAME",
    help="Predict times for this device, such as orin-nx-16gb; a wrong name lists them.",
)
@click.option(
    "--bench",
    "measurements",
    metavar="FILE",
    type=FILE,
    multiple=True,
    help="What `bench --json` printed: its times take the place of predicted ones where it covers "
    "a combination. Without --device, nothing else is planned with; may be repeated.",
)
@click.option(
    "--budget-ms", type=_ABOVE_NOTHING, help="Milliseconds that one run of the graph may take."
)
@click.option("--fps", type=_ABOVE_NOTHING, help="The budget as frames a second of each camera.")
@click.option(
    "--cameras",
    type=AT_LEAST_ONE,
    default=1,
    help="Cameras whose newest frames are answered together, as one batch.",
)
@click.option(
    "--int8",
    "gates",
    metavar="GRAPH",
    type=FILE,
    multiple=True,
    help="An INT8 graph of `calibrate` with variants in it: the report beside it says their "
    "accuracy; may be repeated.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Plan in this one.  [default: each that there are accuracies and times of]",
)
@click.option(
    "--accuracy",
    "basis",
    type=click.Choice(["held-out", "cross-validated"]),
    default="held-out",
    help="What variants are compared by: test data (validation data where there is none), or "
    "cross-validation on training data, which readouts have.",
)
@click.option(
    "--graphs",
    type=click.IntRange(min=0),
    default=8,
    help="Make graphs of so many candidates at most, to count their layers instead of composing.",
)
@click.option(
    "--no-compile",
    is_flag=True,
    help="Estimate layers from the graphs, even where TensorRT-RTX is installed.",
)
@click.option(
    "-o", "--output", type=FILE, help="Draw the frontier into this file: .svg, .png or .pdf."
)
@click.option("--explain", is_flag=True, help="Show the device model against published times.")
@json_option
def command(  # noqa: PLR0917 - an argument for each option
    tasks: tuple[str, ...],
    root: Path,
    device: str | None,
    measurements: tuple[Path, ...],
    budget_ms: float | None,
    fps: float | None,
    cameras: int,
    gates: tuple[Path, ...],
    precision: Precision | None,
    basis: Basis,
    graphs: int,
    output: Path | None,
    *,
    no_compile: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Find the variants of tasks with the best total accuracy that fit a device.

    A task may have been trained in several forms, such as a readout and a delta. Every combination
    of one variant a task is looked at, in each precision. Printed are the most accurate one that
    fits the budget, and the frontier: what nothing beats in both time and accuracy.

    Times are predicted from layers, bytes and arithmetic, unless --bench has measured them. Each
    says which it is.
    """
    from snow_deploy.cli.plan_lines import plan_lines
    from snow_deploy.plan.device import find_device
    from snow_deploy.plan.document import plan_document
    from snow_deploy.plan.plan import plan_tasks
    from snow_deploy.plan.plot import check_plot_path, write_plot
    from snow_deploy.plan.request import Budget, PlanRequest

    if output is not None:
        check_plot_path(output)
    request = PlanRequest(
        store=root,
        tasks=tasks,
        device=None if device is None else find_device(device),
        budget=Budget.of(budget_ms, fps, cameras),
        gates=gates,
        measurements=measurements,
        precision=precision,
        basis=basis,
        graphs=graphs,
        compiles=not no_compile,
    )
    with progress_bar("plan") as progress:
        plan = plan_tasks(request, progress)
    if output is not None:
        write_plot(plan, output)
    if as_json:
        click.echo(json.dumps(plan_document(plan), indent=2, allow_nan=False))
        return
    for line in plan_lines(plan, explain=explain):
        click.echo(line)
