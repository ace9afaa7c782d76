"""`snow-deploy export`: tasks of a store as one ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from snow_deploy.cli.image_size import ImageSizeParam
from snow_deploy.cli.options import AT_LEAST_ONE, FILE, FiniteRange, is_given, store_option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snow_export.parity import TaskParity
    from snow_runtime.graph.image_size import ImageSize
    from snow_runtime.graph.manifest import InputEntry, Layout, Precision
    from snow_runtime.pictures.preprocessing import Colour

_OF_GRAPHS = (
    *("tasks", "layout", "precision", "input_dtype", "colour", "batch", "with_source"),
    *("with_features", "source_only", "image_size", "crop_share"),
)
"""Options that say how a graph is made."""


@click.command("export")
@click.option(
    "--tasks",
    metavar="NAME,NAME…",
    help="Tasks to export, in the order of the outputs.  [default: all, by name]",
)
@store_option
@click.option(
    "-o",
    "--output",
    type=FILE,
    help="The file to write.  [default: snow.onnx; with --readout NAME.readout]",
)
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
@click.option(
    "--source-only",
    is_flag=True,
    help="Export the source with its own classes and no task: with --features, for a device that "
    "gains all its tasks as readouts.",
)
@click.option(
    "--image-size",
    type=ImageSizeParam(),
    help="With --source-only, the side of the input in pixels, or height x width, such as "
    "180x320.  [default: the tasks', or 224]",
)
@click.option(
    "--crop-share",
    type=FiniteRange(0, 1, min_open=True),
    help="With --source-only, the share of the resized picture that is shown of its height and "
    "width.  [default: the tasks', or the source's]",
)
@click.option(
    "--readout",
    metavar="NAME",
    help="Write no graph but this task, a readout, as a file that `run --readout` takes beside a "
    "graph with --features.",
)
def command(  # noqa: PLR0917 - an argument for each option
    tasks: str | None,
    root: Path,
    output: Path | None,
    layout: Literal["fused", "summed", "separate", "auto"],
    precision: Precision,
    input_dtype: str,
    colour: Colour,
    batch: int | None,
    image_size: ImageSize | None,
    crop_share: float | None,
    readout: str | None,
    *,
    with_source: bool,
    with_features: bool,
    source_only: bool,
) -> None:
    """Export tasks of a store as one ONNX graph.

    The graph runs the source once and has one output per task, named after it. The file is
    compared with the torch networks on held-out pictures before it takes its name.

    With --readout it writes one fitted task as a small file, for a graph that was exported before.
    """
    if readout is not None:
        _refuse_given("--readout writes no graph and", _OF_GRAPHS)
        _write_readout(root, readout, output)
        return
    _refuse_what_does_not_fit(layout, image_size, crop_share, source_only=source_only)
    from snow_deploy.stages.export import export_source, export_tasks
    from snow_deploy.training.store import Store
    from snow_export.export import GraphOptions

    first: Layout = "fused" if layout == "auto" else layout
    options = GraphOptions(first, precision, _input_of(input_dtype, colour), batch)
    path = output or Path("snow.onnx")
    if source_only:
        checked = export_source(
            Store(root),
            path,
            image_size=image_size,
            crop_share=crop_share,
            with_features=with_features,
            options=options,
        )
    else:
        checked = export_tasks(
            Store(root),
            None if tasks is None else tuple(name.strip() for name in tasks.split(",")),
            path,
            with_source=with_source,
            with_features=with_features,
            options=options,
            choosing=_say_times if layout == "auto" else None,
        )
    _say_parities(checked)
    click.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def _refuse_what_does_not_fit(
    layout: str, image_size: ImageSize | None, crop_share: float | None, *, source_only: bool
) -> None:
    """Refuse options that the graph which is asked for does not read."""
    if source_only:
        _refuse_given("--source-only exports no task and", ("tasks", "with_source"))
        if layout == "auto":
            msg = "--source-only has no deltas to lay out; leave --layout out"
            raise click.UsageError(msg)
        return
    for name, given in (("--image-size", image_size), ("--crop-share", crop_share)):
        if given is not None:
            msg = f"{name} is for --source-only; tasks have what they were trained with"
            raise click.UsageError(msg)


def _input_of(dtype: str, colour: Colour) -> InputEntry:
    from snow_runtime.graph.manifest import InputEntry

    if dtype == "uint8":
        return InputEntry(dtype="uint8", layout="NHWC", colour=colour)
    if is_given("colour"):
        msg = "--colour is the order of uint8 frames; give --input uint8 too, or leave it out"
        raise click.UsageError(msg)
    return InputEntry()


def _say_parities(checked: Iterable[TaskParity]) -> None:
    from snow_export.inspect.owners import FEATURES

    for parity in checked:
        what, same = "logits", f", same top-1 {parity.same_top1:.0%}"
        if parity.task == FEATURES:
            what, same = "features", ""
        click.echo(
            f"{parity.task:<16} largest error {parity.max_error:.1e} at {what} up to "
            f"{parity.scale:.1f}{same}"
        )


def _refuse_given(what: str, names: tuple[str, ...]) -> None:
    params = click.get_current_context().command.params
    given = [each.opts[-1] for each in params if each.name in names and is_given(str(each.name))]
    if given:
        msg = f"{what} does not read {', '.join(given)}; leave it out"
        raise click.UsageError(msg)


def _write_readout(root: Path, name: str, output: Path | None) -> None:
    from snow_deploy.stages.store_readout import readout_of
    from snow_deploy.training.store import Store
    from snow_runtime.readout.file import SUFFIX, check_place

    path = output or Path(f"{name}{SUFFIX}")
    if path.suffix != SUFFIX:
        msg = f"-o {path} is no name of a readout, expected one that ends in {SUFFIX}."
        raise click.UsageError(msg)
    check_place(path)
    found = readout_of(Store(root), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.write(path)
    click.echo(
        f"{found.name}: {len(found.labels)} labels, {len(found.index)} features, accuracy "
        f"{found.facts.fit.accuracy:.4f} ± {found.facts.fit.standard_error:.4f} by cross-validation"
    )
    click.echo(f"{path}  {path.stat().st_size / 1e3:.1f} kB")


def _say_times(times: dict[Layout, float]) -> None:
    """Print what each layout took; the first one is taken."""
    measured = ", ".join(f"{layout} {taken:.1f} ms" for layout, taken in times.items())
    click.echo(f"layout {next(iter(times))}: {measured}")
