"""`snow-deploy collect fit`, `versions` and `back`: the readouts of a collection's questions."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from snow_deploy.cli.byte_size import ByteSize
from snow_deploy.cli.options import FILE, FOLDER, json_option
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.refit.versions import Version, Versions

_FOLDER = click.argument("folder", type=FOLDER)
_QUESTION = click.argument("question")


@click.command("fit")
@_FOLDER
@_QUESTION
@click.option(
    "--model", type=FILE, required=True, help="The graph or engine, exported with --features."
)
@click.option(
    "--refit-memory", type=ByteSize(), default="1GB", help="Memory that the fit may take."
)
def fit_question(folder: Path, question: str, model: Path, refit_memory: int) -> None:
    """Fit a QUESTION of the collection in FOLDER now, as `run --collect` does after labels.

    The new version answers where it is no worse than the one before; a box that runs follows.
    """
    from snow_runtime.collection.collection import Collection
    from snow_runtime.learn.fit import check_can_fit
    from snow_runtime.model import load
    from snow_runtime.refit.options import RefitOptions
    from snow_runtime.refit.service import RefitService
    from snow_runtime.swap import SwappableModel

    check_can_fit("readout")
    options = RefitOptions(memory_bytes=refit_memory)
    with Collection.open(folder) as collection, SwappableModel(load(model)) as at_work:
        service = RefitService(collection, at_work, options=options)
        found = service.fit_now(question)
        if found is None:
            msg = f"{question} was not fitted. {service.status(question)['text']}"
            raise InputError(msg)
        advice = (service.report(question).get("forecast") or {}).get("advice")
    click.echo(version_line(found))
    for remark in (*found.remarks, *([advice] if advice else [])):
        click.echo(remark)


@click.command("versions")
@_FOLDER
@_QUESTION
@json_option
def list_versions(folder: Path, question: str, *, as_json: bool) -> None:
    """List the versions of a QUESTION's readout in the collection in FOLDER."""
    found = _existing(folder, question).all()
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in found], ensure_ascii=False))
        return
    if not found:
        click.echo(f"{question} was not fitted yet")
    for each in found:
        click.echo(version_line(each))


@click.command("back")
@_FOLDER
@_QUESTION
@click.argument("number", type=click.IntRange(1))
def back(folder: Path, question: str, number: int) -> None:
    """Let version NUMBER of a QUESTION answer; a box that runs follows within seconds."""
    click.echo(version_line(_existing(folder, question).choose(number, "chosen by hand")))


def version_line(version: Version) -> str:
    """Say what a version is, in one line."""
    accuracy, error = version.cross_validated
    counts = ", ".join(f"{count} {label}" for label, count in version.labels.items())
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.created_at))
    honest = "no random picture is labelled"
    if version.honest is not None:
        found = version.honest
        honest = (
            f"{found.accuracy:.3f} ({found.low:.3f} to {found.high:.3f}) on {found.pictures} "
            "random pictures"
        )
    return (
        f"version {version.number}, {at}, {version.state}: {version.reason}; {counts}; held out "
        f"{accuracy:.3f} ± {error:.3f}; {honest}"
    )


def _existing(folder: Path, question: str) -> Versions:
    """Give the versions of a question that there is.

    Raises:
        InputError: There is none.
    """
    from snow_runtime.collection.collection import Collection
    from snow_runtime.refit.versions import Versions

    with Collection.open(folder) as collection:
        names = [each.name for each in collection.questions()]
    if question not in names:
        msg = (
            f"The collection {folder} has no question {question!r}, expected one of: "
            f"{', '.join(names) or 'none'}. Check the name."
        )
        raise InputError(msg)
    return Versions(folder / "versions" / question)
