"""`snow-deploy fit`: a new task for a running model, from folders of photos; without torch."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.fit_scored import (
    fit_table,
    look_up_scored,
    refuse_mixed,
    warn_where_all_is_answered,
)
from snow_deploy.cli.options import (
    AT_LEAST_ONE,
    FILE,
    PATH,
    THREADS,
    FiniteRange,
    is_given,
    json_option,
    refuse_threads_of_engine,
)
from snow_deploy.cli.progress import progress_bar
from snow_deploy.cli.tables import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from snow_deploy.data.pictures import FilePictures
    from snow_runtime.learn.collect import LookedAt
    from snow_runtime.readout.file import ReadoutFile


@click.command("fit")
@click.argument("photos", nargs=-1, type=PATH)
@click.option(
    "--model",
    type=PATH,
    default="snow.onnx",
    help="The graph or engine that is to answer it, exported with --features.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    help="The readout to write, such as door.readout; with --labels the folder of all.",
)
@click.option("--name", help="Name of the task.  [default: that of OUTPUT]")
@click.option(
    "--right-share",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    help="Withhold unsure answers, so that of those given this share is right, such as 0.95; found "
    "by cross-validation. It holds in nine cases of ten.  [default: every answer is given]",
)
@click.option("--threads", type=THREADS, help="CPU threads of ONNX Runtime.")
@click.option(
    "--features",
    metavar="URI",
    help="What `score --features` wrote: the photos are looked up there by their ids, and neither "
    "they nor a model are needed.",
)
@click.option(
    "--labels",
    type=FILE,
    help="With --features and in the place of PHOTOS: a CSV file with a column `id` and one for "
    "each task. An empty cell is no answer.",
)
@click.option("--processes", type=AT_LEAST_ONE, help="With --labels, fits at a time.  [default: 1]")
@click.option(
    "--ray",
    "address",
    metavar="ADDRESS|local",
    help="With --labels, spread the fits over the Ray at this address, or over one started here.",
)
@json_option
def command(
    photos: tuple[Path, ...],
    model: Path,
    output: Path,
    features: str | None,
    labels: Path | None,
    *,
    as_json: bool,
    **given: Any,
) -> None:
    """Fit a task on PHOTOS, for a model that gives out features.

    PHOTOS is a folder with a folder for each class in it, or several folders, each of a class and
    named after it. All photos are learnt from; the accuracy is found by cross-validation. `run` and
    `predict` answer the task with --readout, without a new graph or engine.

    With --features no photo is opened: the features are those of a scored archive. With --labels
    too, any number of tasks is fitted from them.
    """
    threads, right_share = given["threads"], given["right_share"]
    refuse_mixed(
        {
            "photos": photos,
            "labels": labels,
            "features": features,
            "model": is_given("model") or threads,
            "spread": given["processes"] or given["address"],
            "name": given["name"],
        }
    )
    if features is not None and labels is not None:
        spread = given["processes"] or 1, given["address"]
        fit_table(features, labels, output, spread, right_share=right_share, as_json=as_json)
        return
    _refuse_name_of_no_readout(output)
    refuse_threads_of_engine(model, threads)
    task = given["name"] if given["name"] is not None else output.stem
    readout, took = _fitted(
        photos,
        task,
        output,
        right_share,
        lambda pictures: _look(features, model, pictures, threads),
    )
    if as_json:
        click.echo(json.dumps(_document(readout, output, took), indent=2))
    else:
        _print(readout, output, took)


def _fitted(
    photos: tuple[Path, ...],
    task: str,
    output: Path,
    right_share: float | None,
    look: Callable[[FilePictures], LookedAt],
) -> tuple[ReadoutFile, dict[str, float]]:
    """Fit a readout on photos and write it; return it, and the seconds that its stages took."""
    from snow_deploy.data.class_folders import read_class_folders
    from snow_runtime.learn.fit import check_can_fit, fit_looked_at
    from snow_runtime.readout.file import check_place
    from snow_runtime.readout.fit import FitOptions

    check_can_fit(task)
    check_place(output)
    pictures, remarks = read_class_folders(photos)
    began = time.monotonic()
    seen = look(pictures)
    looked = time.monotonic()
    for remark in (*remarks, *seen.remarks, *_name_taken(task, seen)):
        click.echo(f"warning: {remark}", err=True)
    readout = fit_looked_at(seen, task, FitOptions(right_share=right_share))
    warn_where_all_is_answered(readout, right_share)
    output.parent.mkdir(parents=True, exist_ok=True)
    readout.write(output)
    return readout, {"looking_s": looked - began, "fitting_s": time.monotonic() - looked}


def _refuse_name_of_no_readout(output: Path) -> None:
    from snow_runtime.readout.file import SUFFIX

    if output.suffix != SUFFIX:
        msg = f"-o {output} is no name of a readout, expected one that ends in {SUFFIX}."
        raise click.UsageError(msg)
    if output.is_dir():
        msg = f"-o {output} is a folder, expected the name of a file."
        raise click.UsageError(msg)


def _name_taken(task: str, seen: LookedAt) -> Iterator[str]:
    if task in [own.name for own in seen.manifest.tasks]:
        yield (
            f"the graph has a task {task!r} of its own and will refuse a readout of that name; "
            "give another --name"
        )


def _look(
    features: str | None, model: Path, pictures: FilePictures, threads: int | None
) -> LookedAt:
    """Return the photos' features: those of a scored archive, or the model's."""
    labels = [pictures.labels[target] for target in pictures.targets]
    if features is not None:
        return look_up_scored(features, [str(path) for path in pictures.paths], labels)
    from snow_runtime.learn.collect import look_at
    from snow_runtime.model import load

    with load(model, threads=threads) as held, progress_bar("photos") as progress:
        held.warmup()
        held.self_check()
        return look_at(held, pictures.paths, labels, progress=progress)


def _document(readout: ReadoutFile, output: Path, took: dict[str, float]) -> dict[str, object]:
    facts, found = readout.facts, readout.facts.fit
    confidence = facts.task.confidence
    return {
        "path": str(output),
        "size_bytes": output.stat().st_size,
        "task": readout.name,
        "pictures": dict(zip(readout.labels, found.counts or (), strict=True)),
        "accuracy": found.accuracy,
        "standard_error": found.standard_error,
        "penalty": found.penalty,
        "features": len(readout.index),
        "features_of": sum(tap.channels for tap in facts.taps),
        "temperature": facts.task.temperature,
        "least_probability": None if confidence is None else confidence.least_probability,
        **took,
    }


def _print(readout: ReadoutFile, output: Path, took: dict[str, float]) -> None:
    facts, found = readout.facts, readout.facts.fit
    counts = ", ".join(
        f"{one_line(label)} {count}"
        for label, count in zip(readout.labels, found.counts or (), strict=True)
    )
    click.echo(f"task {readout.name}: {found.pictures} photos, {counts}")
    click.echo(
        f"accuracy {found.accuracy:.1%} ± {found.standard_error:.1%} (standard error), by "
        "cross-validation on them"
    )
    click.echo(
        f"{len(readout.index)} of {sum(tap.channels for tap in facts.taps)} features, penalty "
        f"{found.penalty:g}"
    )
    click.echo(f"temperature {facts.task.temperature:.3f}")
    confidence = facts.task.confidence
    if confidence is not None and confidence.least_probability:
        click.echo(f"answers below {confidence.least_probability:.1%} are unsure")
    click.echo(f"looking at them {took['looking_s']:.1f} s, fitting {took['fitting_s']:.1f} s")
    click.echo(f"{output}  {output.stat().st_size / 1e3:.1f} kB")
