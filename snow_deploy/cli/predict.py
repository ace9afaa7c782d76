"""``snow-deploy predict``: what a graph says about photos."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from snow_deploy.cli.options import (
    AT_LEAST_ONE,
    PATH,
    THREADS,
    ModelPlace,
    readout_files,
    readout_option,
    refuse_threads_of_engine,
    warn_of_secrets,
)
from snow_deploy.cli.tables import one_line
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.results import Result, TaskResult


@click.command("predict")
@click.argument("model", type=ModelPlace())
@click.argument("photos", nargs=-1, required=True, type=PATH)
@readout_option
@click.option(
    "--top",
    type=AT_LEAST_ONE,
    default=3,
    help="Labels to list for each task. Where several may be right, all that have 50 % or more are "
    "listed, and others in brackets.",
)
@click.option(
    "--unknown/--no-unknown",
    default=True,
    help="Say which answers are unknown: the picture is unlike those trained on, or the answer "
    "unsure.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, an object a photo.")
@click.option("--threads", type=THREADS, help="CPU threads to compute with.")
@click.pass_context
def command(
    context: click.Context,
    model: Path | str,
    photos: tuple[Path, ...],
    readouts: tuple[Path, ...],
    *,
    top: int,
    unknown: bool,
    as_json: bool,
    threads: int | None,
) -> None:
    """Ask MODEL, an exported ONNX graph, about each of PHOTOS.

    MODEL may be on a server: grpc://HOST[:PORT]/NAME[/VERSION], or grpcs://.

    A photo that cannot be read is named on the standard error, the others are answered all the
    same, and the exit code is 1.
    """
    from snow_runtime.model import load
    from snow_runtime.pictures.preprocessing import load_image

    refuse_threads_of_engine(model, threads)
    warn_of_secrets([model] if isinstance(model, str) else [])
    documents = []
    unreadable = 0
    with load(model, threads=threads, unlikeness=unknown) as graph:
        for readout in readout_files(readouts):
            graph.add_readout(readout)
        for photo in photos:
            try:
                result = graph(load_image(photo))
            except InputError as error:
                click.echo(f"error: {error}", err=True)
                unreadable += 1
                continue
            documents.append({"photo": str(photo), **result.to_dict(top, unknown=unknown)})
            if not as_json:
                _print(photo, result, top, unknown=unknown)
    if as_json:
        click.echo(json.dumps(documents, indent=2))
    if unreadable:
        context.exit(1)


def _print(photo: Path, result: Result, top: int, *, unknown: bool) -> None:
    click.echo(f"{click.format_filename(photo)}  ({result.latency_ms:.1f} ms)")
    width = max(map(len, result))
    for name, answer in result.items():
        said = f"unknown ({answer.unknown_because})   " if unknown and answer.unknown else ""
        click.echo(f"  {name:<{width}}  {said}{'   '.join(_listed(answer, top))}")


def _listed(answer: TaskResult, top: int) -> Iterator[str]:
    """Yield the most probable labels; of several that may be right, those absent in brackets."""
    present = len(answer.labels)
    if answer.answers == "several":
        present = len(answer.present())
        top = max(top, present)  # none that is present is left out
    for place, (label, share) in enumerate(answer.top(top)):
        text = f"{one_line(label)} {share:.1%}"
        yield text if place < present else f"({text})"
