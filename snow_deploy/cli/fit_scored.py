"""`snow-deploy fit --features`: tasks fitted on what `score --features` wrote."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.tables import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from snow_runtime.learn.collect import LookedAt
    from snow_runtime.learn.many import FittedTask, LabelledTask
    from snow_runtime.learn.scored import ScoredFeatures
    from snow_runtime.readout.file import ReadoutFile

_ID = "id"


def look_up_scored(features: str, names: Sequence[str], labels: Sequence[str]) -> LookedAt:
    """Look pictures up in what was scored."""
    from snow_runtime.learn.scored import looked_at, read_scored_features

    known = dict(zip(names, labels, strict=True))
    return looked_at(read_scored_features(features, known.keys()), known)


def read_label_table(path: Path) -> list[LabelledTask]:
    """Read a CSV file with a column `id` and a column for each task.

    Raises:
        DataError: It cannot be read, is laid out otherwise, or lists a picture twice.
        ManifestError: A task may not have the name of a column.
    """
    from snow_deploy.errors import DataError
    from snow_runtime.graph.task_name import check_task_name
    from snow_runtime.learn.many import LabelledTask

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            headings = [heading.strip() for heading in reader.fieldnames or ()]
            reader.fieldnames = headings
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"Cannot read {path}: {error}; expected a CSV file in UTF-8. Correct it."
        raise DataError(msg) from error
    tasks = [heading for heading in headings if heading != _ID]
    if _ID not in headings or not tasks or len(set(headings)) < len(headings):
        msg = (
            f"{path} has the columns {', '.join(headings) or 'none'}, expected `id` and one for "
            "each task, each once. Correct the first line."
        )
        raise DataError(msg)
    for task in tasks:
        check_task_name(task)
    found: dict[str, dict[str, str]] = {task: {} for task in tasks}
    seen: set[str] = set()
    for line, row in enumerate(rows, 2):
        name = (row[_ID] or "").strip()
        if not name or name in seen or None in row:
            what = "is empty" if not name else "is there twice" if name in seen else "is too long"
            msg = f"Line {line} of {path}: {name or 'the id'} {what}. Correct it."
            raise DataError(msg)
        seen.add(name)
        for task in tasks:
            if label := (row[task] or "").strip():
                found[task][name] = label
    return [LabelledTask(task, labels) for task, labels in found.items()]


def fit_table(
    features: str,
    table: Path,
    output: Path,
    spread: tuple[int, str | None],
    *,
    right_share: float | None,
    as_json: bool,
) -> None:
    """Fit a readout for each column of a table, and write them into a folder.

    Args:
        features: Folder of the scored features.
        table: CSV file of the labels.
        output: Folder of the readouts.
        spread: How many processes, and the address of a Ray that takes their place.
        right_share: Share of right answers that those given are to have; None gives all.
        as_json: Whether one JSON object is printed.
    """
    from snow_runtime.learn.fit import check_can_fit
    from snow_runtime.learn.scored import read_scored_features
    from snow_runtime.readout.file import SUFFIX, check_place
    from snow_runtime.readout.fit import FitOptions

    options = FitOptions(right_share=right_share)
    tasks = [replace(task, options=options) for task in read_label_table(table)]
    check_can_fit(tasks[0].name)
    began = time.monotonic()
    scored = read_scored_features(features, {name for task in tasks for name in task.labels})
    read = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        check_place(output / f"{task.name}{SUFFIX}")
    documents = dict[str, dict[str, object]]()
    failures = dict[str, str]()
    for done in _fitted(scored, tasks, spread):
        for remark in done.remarks:
            click.echo(f"warning: {done.name}: {remark}", err=True)
        if done.readout is None:
            failures[done.name] = done.error or ""
            click.echo(f"error: {done.name}: {one_line(done.error or '')}", err=True)
            continue
        warn_where_all_is_answered(done.readout, right_share)
        path = output / f"{done.name}{SUFFIX}"
        done.readout.write(path)
        documents[done.name] = _document(done.readout, path)
        if not as_json:
            _print(done.readout, path)
    took = {"reading_s": read - began, "fitting_s": time.monotonic() - read}
    if as_json:
        ordered = {task.name: documents[task.name] for task in tasks if task.name in documents}
        click.echo(json.dumps({"tasks": ordered, "failures": failures, **took}, indent=2))
    else:
        click.echo(
            f"{len(documents)} of {len(tasks)} tasks, reading {took['reading_s']:.1f} s, fitting "
            f"{took['fitting_s']:.1f} s"
        )
    if failures:
        click.get_current_context().exit(1)


def _document(readout: ReadoutFile, path: Path) -> dict[str, object]:
    fit = readout.facts.fit
    return {
        "path": str(path),
        "pictures": fit.pictures,
        "accuracy": fit.accuracy,
        "standard_error": fit.standard_error,
        "features": len(readout.index),
    }


def _print(readout: ReadoutFile, path: Path) -> None:
    fit = readout.facts.fit
    click.echo(
        f"{path}  {fit.pictures} pictures, accuracy {fit.accuracy:.1%} ± {fit.standard_error:.1%}"
    )


def _fitted(
    scored: ScoredFeatures, tasks: Sequence[LabelledTask], spread: tuple[int, str | None]
) -> Iterator[FittedTask]:
    from snow_runtime.learn.many import fit_here, fit_on_ray

    processes, address = spread
    if address is None:
        return fit_here(scored, tasks, processes)
    from snow_runtime.score.on_ray import begin_ray

    begin_ray(address)
    return fit_on_ray(scored, tasks)


def warn_where_all_is_answered(readout: ReadoutFile, right_share: float | None) -> None:
    """Tell that no bound keeps a share of right answers that was asked for."""
    confidence = readout.facts.task.confidence
    if right_share is not None and (confidence is None or confidence.right_share is None):
        click.echo(
            f"warning: {readout.name}: no least probability shows that {right_share:g} of the "
            "answers given are right; every answer is given. Add photos, or ask for a smaller "
            "--right-share.",
            err=True,
        )


def refuse_mixed(given: dict[str, Any]) -> None:
    """Refuse options of `fit` that do not go together.

    Raises:
        click.UsageError: Some do not.
    """
    photos, labels, features = given["photos"], given["labels"], given["features"]
    msg = None
    if features is None and (labels or given["spread"]):
        msg = "--labels, --processes and --ray are for tasks on --features of `score`."
    elif features is not None and given["model"]:
        msg = "--features says which model gave them; leave --model and --threads out."
    elif photos and labels:
        msg = "give PHOTOS, whose folders are the labels, or --labels, and not both."
    elif not photos and not labels:
        msg = "Missing argument 'PHOTOS...'."
    elif given["spread"] and not labels:
        msg = "--processes and --ray are for the many tasks of --labels."
    elif labels and given["name"]:
        msg = "with --labels each column names its task; leave --name out."
    if msg is not None:
        raise click.UsageError(msg)
