"""`snow-deploy triton`: a graph or an engine in a model repository of Triton."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import AT_LEAST_ONE, FOLDER, PATH, THREADS, FiniteRange, json_option
from snow_deploy.cli.try_graph import try_graph

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.triton.repository import AddedVersion


@click.command("triton")
@click.argument("model", type=PATH, default="snow.onnx")
@click.option(
    "-o", "--output", "repository", type=FOLDER, required=True, help="Folder of the repository."
)
@click.option("--name", help="Name that clients ask for.  [default: MODEL's, without its ending]")
@click.option("--version", type=AT_LEAST_ONE, help="Of the model.  [default: one more than before]")
@click.option(
    "--form",
    type=click.Choice(["onnxruntime", "tensorrt", "python"]),
    help="Triton's backend. python: JPEG or PNG files in, labels out, by snow_runtime.  "
    "[default: onnxruntime for a graph, tensorrt for an engine]",
)
@click.option(
    "--max-batch",
    type=AT_LEAST_ONE,
    help="Most pictures that Triton puts together.  [default: 8, or what an engine takes]",
)
@click.option("--instances", type=AT_LEAST_ONE, help="Copies at work on each device.  [default: 1]")
@click.option(
    "--threads",
    type=THREADS,
    help="CPU threads of each copy of a graph.  [default: as many as there are cores]",
)
@click.option(
    "--gpu/--cpu", default=None, help="Where a graph computes.  [default: on a GPU where one is]"
)
@click.option(
    "--queue-delay",
    "queue_delay_ms",
    metavar="MS",
    type=FiniteRange(0, 60_000),
    help="How long a request may wait for others to come, in milliseconds.  [default: 0]",
)
@click.option(
    "--warm-up/--no-warm-up",
    default=None,
    help="Whether Triton runs it once before it is ready.  [default: warm-up]",
)
@json_option
def command(
    model: Path, repository: Path, *, gpu: bool | None, as_json: bool, **asked: Any
) -> None:
    """Put MODEL, a graph or an engine, into a model repository of Triton.

    REPOSITORY/NAME gets MODEL as its next version, whole or not at all. Versions that are there
    are never changed, and Triton serves them side by side. What describes them, config.pbtxt and
    the labels, is one for all: a version that does not fit it is refused. Without MODEL it is
    snow.onnx. A graph is tried here before, where ONNX Runtime is installed (extra cpu).
    """
    from snow_runtime.model import is_engine
    from snow_runtime.triton.options import TritonOptions
    from snow_runtime.triton.repository import add_version

    if not is_engine(model):
        try_graph(model)
    device: Any = {None: None, True: "gpu", False: "cpu"}[gpu]
    added = add_version(repository, model, TritonOptions(device=device, **asked))
    if as_json:
        click.echo(json.dumps(_document(added), indent=2))
        return
    for line in _lines(added):
        click.echo(line)


def _lines(added: AddedVersion) -> Iterator[str]:
    served = added.served
    most = added.config.max_batch_size
    batch = f"up to {most} pictures" if most else f"{served.fixed_batch} picture(s)"
    tasks = [task.name for task in served.manifest.tasks]
    yield (
        f"{click.format_filename(added.folder)}  {served.form}, {batch} a call; "
        f"{len(tasks)} task(s): {', '.join(tasks)}"
    )
    if served.form == "python":
        yield "needs snow_runtime in the Python of Triton; it needs no torch"


def _document(added: AddedVersion) -> dict[str, Any]:
    served = added.served
    return {
        "name": added.name,
        "version": added.version,
        "folder": str(added.folder),
        "form": served.form,
        "max_batch": added.config.max_batch_size,
        "fixed_batch": served.fixed_batch,
        "tasks": [task.name for task in served.manifest.tasks],
    }
