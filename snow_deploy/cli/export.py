"""`snow-deploy export`: tasks of a store as one ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from snow_deploy.cli.options import AT_LEAST_ONE, FILE, is_given, store_option

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.graph.manifest import Layout, Precision
    from snow_runtime.pictures.preprocessing import Colour


@click.command("export")
@click.option(
    "--tasks",
    metavar="NAME,NAME…",
    help="Tasks to export, in the order of the outputs.  [default: all, by name]",
)
@store_option
@click.option("-o", "--output", type=FILE, default="snow.onnx", help="The ONNX file to write.")
@click.option(
    "--layout",
    type=click.Choice(["fused", "summed", "separate", "auto"]),
    default="fused",
    help="fused: deltas of equal shape become one network, one convolution a layer for all "
    "tasks; fewest kernels on a GPU. summed: fused, local and subscribed channels convolved apart "
    "and added; often faster on CPUs. separate: side by side. auto: the fastest of them in ONNX "
    "Runtime on this machine. Readouts are one product in each.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    help="Arithmetic inside the graph; logits are float32 in both.",
)
@click.option(
    "--input",
    "input_dtype",
    type=click.Choice(["float", "uint8"]),
    default="float",
    help="float: normalised [B,3,S,S]. uint8: camera frames [B,S,S,3], normalised in the graph.",
)
@click.option(
    "--colour",
    type=click.Choice(["bgr", "rgb"]),
    default="bgr",
    help="Order of a uint8 frame's channels; OpenCV's is bgr.",
)
@click.option("--batch", type=AT_LEAST_ONE, help="Fix the batch size.  [default: any]")
@click.option("--with-source", is_flag=True, help="Also answer with the source's own classes.")
@click.option(
    "--features",
    "with_features",
    is_flag=True,
    help="Also give out the source's pooled features, on which further readouts can be evaluated "
    "without exporting again.",
)
def command(  # noqa: PLR0917 - an argument for each option
    tasks: str | None,
    root: Path,
    output: Path,
    layout: Literal["fused", "summed", "separate", "auto"],
    precision: Precision,
    input_dtype: str,
    colour: Colour,
    batch: int | None,
    *,
    with_source: bool,
    with_features: bool,
) -> None:
    """Export tasks of a store as one ONNX graph.

    The graph runs the source once and has one output per task, named after it. The file is
    compared with the torch networks on held-out pictures before it takes its name.
    """
    from snow_deploy.stages.export import export_tasks
    from snow_deploy.training.store import Store
    from snow_export.export import GraphOptions
    from snow_export.inspect.owners import FEATURES
    from snow_runtime.graph.manifest import InputEntry

    entry = InputEntry()
    if input_dtype == "uint8":
        entry = InputEntry(dtype="uint8", layout="NHWC", colour=colour)
    elif is_given("colour"):
        msg = "--colour is the order of uint8 frames; give --input uint8 too, or leave it out"
        raise click.UsageError(msg)
    first: Layout = "fused" if layout == "auto" else layout
    checked = export_tasks(
        Store(root),
        None if tasks is None else tuple(name.strip() for name in tasks.split(",")),
        output,
        with_source=with_source,
        with_features=with_features,
        options=GraphOptions(first, precision, entry, batch),
        choosing=_say_times if layout == "auto" else None,
    )
    for parity in checked:
        what, same = "logits", f", same top-1 {parity.same_top1:.0%}"
        if parity.task == FEATURES:
            what, same = "features", ""
        click.echo(
            f"{parity.task:<16} largest error {parity.max_error:.1e} at {what} up to "
            f"{parity.scale:.1f}{same}"
        )
    click.echo(f"{output}  {output.stat().st_size / 1e6:.1f} MB")


def _say_times(times: dict[Layout, float]) -> None:
    """Print what each layout took; the first one is taken."""
    measured = ", ".join(f"{layout} {taken:.1f} ms" for layout, taken in times.items())
    click.echo(f"layout {next(iter(times))}: {measured}")
