"""`snow-deploy export`: tasks of a store as one ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from snow_runtime.manifest import Layout


@click.command("export")
@click.option(
    "--tasks",
    metavar="NAME,NAME…",
    help="Tasks to export, in the order of the outputs.  [default: all, by name]",
)
@click.option(
    "--store",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default="store",
    show_default=True,
    help="Folder of the source and its tasks.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="snow.onnx",
    show_default=True,
    help="The ONNX file to write.",
)
@click.option(
    "--layout",
    type=click.Choice(["fused", "separate"]),
    default="fused",
    show_default=True,
    help="fused: deltas of equal shape become one network, one convolution a layer for all "
    "tasks. separate: side by side.",
)
@click.option("--with-source", is_flag=True, help="Also answer with the source's own classes.")
def command(
    tasks: str | None, root: Path, output: Path, layout: Layout, *, with_source: bool
) -> None:
    """Export tasks of a store as one ONNX graph.

    The graph runs the source once and has one output per task, named after it. The file is
    compared with the torch networks on held-out pictures before it takes its name.
    """
    from snow_deploy.graph import export_tasks
    from snow_deploy.training.store import Store

    names = None if tasks is None else tuple(name.strip() for name in tasks.split(","))
    checked = export_tasks(Store(root), names, output, with_source=with_source, layout=layout)
    for parity in checked:
        click.echo(
            f"{parity.task:<16} largest error {parity.max_error:.1e} at logits up to "
            f"{parity.scale:.1f}, same top-1 {parity.same_top1:.0%}"
        )
    click.echo(f"{output}  {output.stat().st_size / 1e6:.1f} MB")
