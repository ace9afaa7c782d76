"""`snow-deploy collect`: look after the pictures that `run --collect` keeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.byte_size import ByteSize
from snow_deploy.cli.collect_versions import back, fit_question, list_versions
from snow_deploy.cli.options import FILE, FOLDER, PATH, json_option

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.exchange.incoming import Featuriser, ImportReport
    from snow_runtime.collection.exchange.outgoing import Format

_FOLDER = click.argument("folder", type=FOLDER)
_NAMES = click.option(
    "--question",
    "names",
    metavar="NAME",
    multiple=True,
    help="Of this question; once for each.  [default: all]",
)
_ROOM = click.option(
    "--collect-bytes",
    "size_bytes",
    type=ByteSize(),
    help="Room of the collection from now on; nothing gives way.  [default: as before, or 2GB]",
)
_OVERRULE = click.option(
    "--overrule", is_flag=True, help="Replace labels that somebody else has given."
)
_FORMATS = ("folders", "csv", "tao", "label-studio", "cvat")


@click.group("collect")
def command() -> None:
    """Look after pictures that `run --collect` keeps, and exchange them."""


@command.command("list")
@_FOLDER
@json_option
def list_pictures(folder: Path, *, as_json: bool) -> None:
    """Say what the collection in FOLDER holds."""
    with _opened(folder) as collection:
        found = _contents(collection)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    size = found["stored_bytes"] / 1e6
    click.echo(f"{found['pictures']} pictures, {size:.1f} MB")
    for view in found["views"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in view["reasons"].items())
        click.echo(f"{view['camera'] or 'no camera'}/{view['view'] or 'whole'}: {reasons}")
    for question in found["questions"]:
        labels = ", ".join(f"{count} {label}" for label, count in question["labels"].items())
        click.echo(
            f"question {question['name']}: {question['labelled']} of {question['pictures']} "
            f"labelled: {labels}; random ones {question['random_labelled']} of {question['random']}"
        )


@command.command("delete")
@_FOLDER
@click.option("--everything", is_flag=True, help="All pictures, labels, questions and readouts.")
@click.option(
    "--before",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Those taken before this time of this machine's clock.",
)
@click.option("--camera", metavar="NAME", help="Those of this camera.")
@click.option("--damaged", is_flag=True, help="Those whose files are missing or damaged.")
def delete(
    folder: Path, *, everything: bool, before: datetime | None, camera: str | None, damaged: bool
) -> None:
    """Delete pictures from the collection in FOLDER, with their features and labels.

    They are overwritten in its database too. --before and --camera together delete what both say.
    """
    if everything + damaged + (before is not None or camera is not None) != 1:
        msg = "Say what to delete: --everything, --damaged, or --before, --camera or both."
        raise click.UsageError(msg)
    until = None if before is None else before.timestamp()
    with _opened(folder) as collection:
        ids = collection.damaged() if damaged else None
        count = collection.delete(ids, before=until, camera=camera, everything=everything)
    click.echo(f"{count} pictures deleted")


@command.command("import")
@_FOLDER
@click.argument("source", type=PATH)
@click.option("--question", metavar="NAME", help="The question that the folders' names answer.")
@click.option("--camera", metavar="NAME", default="", help="The camera that they are of.")
@click.option("--view", metavar="NAME", default="", help="The view of it that they show.")
@click.option(
    "--model",
    type=FILE,
    help="A graph with features: pictures are kept with theirs, so that they can be fitted on.",
)
@_OVERRULE
@_ROOM
def import_labels(
    folder: Path,
    source: Path,
    *,
    question: str | None,
    camera: str,
    view: str,
    model: Path | None,
    overrule: bool,
    size_bytes: int | None,
) -> None:
    """Put labelled pictures into the collection in FOLDER, which is made where there is none.

    SOURCE is a folder with a folder for each class; or a CSV file with a column `fname`, as NVIDIA
    TAO's multitask format has it, or `file`, and a column for each question.
    """
    from snow_runtime.collection.exchange.incoming import (
        import_pictures,
        labelled_in_folders,
        labelled_in_table,
    )

    is_folder = source.is_dir()
    if not source.exists():
        msg = f"{source} does not exist, expected a folder of classes or a CSV file."
        raise click.UsageError(msg)
    if is_folder == (question is None):
        msg = (
            "A folder of classes answers one question; name it with --question."
            if is_folder
            else "The columns of a table are its questions; leave --question out."
        )
        raise click.UsageError(msg)
    incoming = (
        labelled_in_folders(source, question) if question is not None else labelled_in_table(source)
    )
    features = None if model is None else _featuriser(model)
    with _made(folder, size_bytes) as collection:
        report = import_pictures(collection, incoming, features, camera, view, overrule=overrule)
    _say_imported(report)


@command.command("export")
@_FOLDER
@click.option("-o", "--output", type=FOLDER, required=True, help="A new folder.")
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="folders",
    help="folders: one for each class; csv, tao: a table; label-studio: tasks.json; cvat: "
    "annotations.xml, CVAT for images 1.1.",
)
@_NAMES
def export_pictures(folder: Path, output: Path, form: Format, names: tuple[str, ...]) -> None:
    """Write the labelled pictures of the collection in FOLDER for other programs."""
    from snow_runtime.collection.exchange.outgoing import export_labels

    with _opened(folder) as collection:
        count = export_labels(collection, output, form, names)
    click.echo(f"{count} pictures written to {output}")


@command.command("pull")
@_FOLDER
@click.option("-o", "--output", type=FILE, required=True, help="The file to write.")
@_NAMES
@click.option("--features/--no-features", default=True, help="Whether features go along.")
def pull(folder: Path, output: Path, names: tuple[str, ...], *, features: bool) -> None:
    """Pack the labelled pictures of the collection in FOLDER as one file to train on.

    `snow-deploy train --data collected:FILE?question=NAME` reads it.
    """
    from snow_runtime.collection.exchange.transfer import pull_pictures

    with _opened(folder) as collection:
        count, sha256 = pull_pictures(collection, output, names, features=features)
    click.echo(f"{count} pictures written to {output}, content {sha256[:12]}")


@command.command("push")
@click.argument("file", type=FILE)
@_FOLDER
@click.option("--by", metavar="NAME", default="push", help="Who gave the labels.")
@_OVERRULE
@_ROOM
def push(file: Path, folder: Path, by: str, *, overrule: bool, size_bytes: int | None) -> None:
    """Put the labelled pictures of FILE, which `pull` wrote, into the collection in FOLDER."""
    from snow_runtime.collection.exchange.packed import read_packed
    from snow_runtime.collection.exchange.transfer import push_pictures

    packed = read_packed(file)
    with _made(folder, size_bytes) as collection:
        _say_imported(push_pictures(packed, collection, by, overrule=overrule))


command.add_command(fit_question)
command.add_command(list_versions)
command.add_command(back)


def _opened(folder: Path) -> Collection:
    from snow_runtime.collection.collection import Collection

    return Collection.open(folder)


def _made(folder: Path, size_bytes: int | None) -> Collection:
    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.options import CollectionOptions

    return Collection.open(folder, create=True, options=CollectionOptions(size_bytes))


def _contents(collection: Collection) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **collection.summary(),
        "questions": [
            {"name": each.name, "labels": counts.pop("by_label"), **counts}
            for each in collection.questions()
            for counts in (asdict(collection.counts(each.name)),)
        ],
    }


def _featuriser(model: Path) -> Featuriser:
    from snow_runtime.collection.exchange.incoming import Featuriser
    from snow_runtime.model import load
    from snow_runtime.readout.evaluate import features_of

    loaded = load(model)
    features_of(loaded.manifest)
    return Featuriser(loaded.features, loaded.manifest.source.sha256)


def _say_imported(report: ImportReport) -> None:
    for reason in report.unreadable:
        click.echo(f"left out: {reason}", err=True)
    click.echo(
        f"{report.added} pictures added, {report.known} were there, {report.labelled} labels given"
    )
    if report.kept:
        click.echo(f"{report.kept} labels stay as others gave them; --overrule replaces them")
    if report.twice:
        click.echo(
            f"{len(report.twice)} files have another label than the same picture in an earlier "
            f"file, which counts: {', '.join(report.twice[:3])}",
            err=True,
        )
