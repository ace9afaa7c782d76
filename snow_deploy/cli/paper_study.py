"""From the options of `snow-deploy paper`'s commands to a study and what its costs are of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import is_given
from snow_deploy.cli.source_options import read_choice, say_note
from snow_deploy.cli.tables import columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from snow_deploy.models.network import Scheme
    from snow_deploy.models.options import ClassifierReads
    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.report import TableReport
    from snow_deploy.paper.study import Study
    from snow_deploy.paper.tuned import Tuned
    from snow_deploy.training.options import Recipe, TrainingPrecision

_OF_TRAINING = (
    *("weights", "weights_key", "stride_in_1x1"),
    *("seeds", "epochs", "workers", "download"),
    *("recipe", "decay_epochs", "tuned", "batch_size", "precision"),
)
"""Options that mean nothing where nothing is trained."""
OF_STEPS = ("image_size",)
"""Options that mean nothing where nothing is measured either."""
_ANY_CLASSES = 2  # whether a network can be built does not depend on their number


@dataclass(frozen=True)
class PaperOptions:
    """What several of `paper`'s commands can be asked for; each has some of these options.

    Attributes:
        data: `--data`, as often as it was given; None of a command that has no data.
        root: Folder of the store.
        schemes: None of a command that compares none.
        rounds: None of a command that measures no speed.
        blocks: None for all.
        from_stage: None for the image.
        batch_size: None for the paper's of each scheme or, with another recipe, 256.
        speed: Whether to measure at all; None of a command that does not ask.
    """

    output: Path
    data: tuple[str, ...] | None = None
    root: Path | None = None
    architecture: str | None = None
    weights: str | None = None
    weights_key: str | None = None
    stride_in_1x1: bool = False
    schemes: tuple[Scheme, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    blocks: int | None = None
    from_stage: int | None = None
    classifier_reads: ClassifierReads = "last"
    recipe: str = "paper"
    decay_epochs: int | None = None
    tuned: tuple[Path, ...] = ()
    epochs: int = 90
    batch_size: int | None = None
    image_size: int = 224
    precision: TrainingPrecision = "auto"
    workers: int = 2
    download: bool = False
    classes: tuple[int, ...] | None = None
    source_classes: int | None = None
    steps: int = 10
    rounds: int | None = None
    batches: tuple[tuple[str, int], ...] = ()
    speed: bool | None = None


def make_study(
    chosen: PaperOptions,
    *,
    unread: Sequence[str] = (),
    trains: bool = True,
    planned: Recipe | None = None,
) -> Study:
    """Make a study of a command's options; the source comes into the store where data is given.

    Args:
        chosen: The command's values.
        unread: Those that, like all that is of training, mean nothing without data.
        trains: Whether the command trains on its data, and needs a source for it.
        planned: A recipe such as it will train by; None for what the options say.

    Raises:
        click.UsageError: There is no data for what was given to train on it, or what recipes were
            chosen for differs from what is asked for.
        TrainingError: Recipes were chosen on another source, or on other pictures.
    """
    from snow_deploy.models.options import DeltaOptions
    from snow_deploy.models.weights import is_file
    from snow_deploy.paper.study import SCHEMES, Study, parse_data
    from snow_deploy.training.store import Store

    data = parse_data(chosen.data or ())
    if trains and chosen.data is not None and not data:
        _refuse_without_data([*_OF_TRAINING, *unread])
    tuned = _read_tuned(chosen.tuned) if chosen.tuned else None
    if tuned is not None:
        chosen = _as_tuned(chosen, tuned)
    study = Study(
        output=chosen.output,
        store=Store(chosen.root or chosen.output / "store"),
        data=data,
        schemes=chosen.schemes or SCHEMES,
        seeds=chosen.seeds,
        recipe=chosen.recipe,
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        image_size=chosen.image_size,
        precision=chosen.precision,
        delta=DeltaOptions(
            blocks=chosen.blocks,
            from_stage=chosen.from_stage,
            classifier_reads=chosen.classifier_reads,
        ),
        decay_epochs=chosen.decay_epochs,
        tuned=tuned,
        workers=chosen.workers,
        download=chosen.download,
        say=lambda line: click.echo(line, err=True),
    )
    if not data or not trains:
        return study
    weights = chosen.weights
    at_hand = study.store.has_source() if weights is None else is_file(weights)
    if at_hand:  # a wrong one is reported before much data is looked through
        _bring_source(study, chosen, planned)
    for name in data:  # all of it, before weights are fetched and hours are trained
        study.splits(name)
    if not at_hand:
        _bring_source(study, chosen, planned)
    if tuned is not None:
        tuned.check_source(study.store.source_weights().fingerprint())
        for name in data:
            tuned.check_pictures(name, study.splits(name))
    return study


def _read_tuned(paths: Sequence[Path]) -> Tuned:
    from snow_deploy.paper.tuned import merge_tuned, read_tuned

    for name in ("recipe", "decay_epochs"):
        if is_given(name):
            option = f"--{name.replace('_', '-')}"
            msg = f"--tuned and {option} both say how runs are trained; give one of them"
            raise click.UsageError(msg)
    return merge_tuned({path: read_tuned(path) for path in paths})


def _said(name: str, value: object) -> object:
    """Say an option's value as the command line has it."""
    if value is None:
        return {"blocks": "all", "from_stage": "the image"}.get(name, "the paper's")
    return value


def _as_tuned(chosen: PaperOptions, tuned: Tuned) -> PaperOptions:
    """Return the options with what recipes were chosen for: epochs, batch, size, SNOW's form."""
    from snow_deploy.models.options import FORM

    wanted_of = {
        **{name: getattr(tuned, name) for name in ("epochs", "batch_size", "image_size")},
        **({name: getattr(tuned.delta, name) for name in FORM} if tuned.has_snow() else {}),
    }
    for name, wanted in wanted_of.items():
        asked = getattr(chosen, name)
        if is_given(name) and asked != wanted:
            option = f"--{name.replace('_', '-')}"
            msg = (
                f"{option} is {_said(name, asked)}, but the recipes of {chosen.tuned[0]} were "
                f"chosen for {_said(name, wanted)}. "
                f"Leave {option} out, or choose recipes for it with `snow-deploy paper tune`."
            )
            raise click.UsageError(msg)
    return replace(chosen, **wanted_of)


def show(output: Path, report: TableReport, figure: Figure) -> None:
    """Print a table, and write it with its plot."""
    files = report.write(output, figure)
    click.echo(report.title)
    for line in columns(report.cells()):
        click.echo(line)
    for note in report.footnotes():
        click.echo(note)
    click.echo(f"wrote {', '.join(map(str, files))}")


def _bring_source(study: Study, chosen: PaperOptions, recipe: Recipe | None) -> None:
    """Bring the source into the study's store, if it serves for what is compared."""
    from snow_deploy.training.bring_source import bring_source

    schemes: Sequence[Scheme] = chosen.schemes or ("snow",)
    data = next(iter(study.data))
    planned = [
        (study.options(scheme, study.seeds[0], data=data, recipe=recipe), _ANY_CLASSES)
        for scheme in schemes
    ]
    source = read_choice(
        chosen.architecture, chosen.weights, chosen.weights_key, chosen.stride_in_1x1
    )
    bring_source(study.store, source, planned, say_note)


def _refuse_without_data(names: Sequence[str]) -> None:
    """Refuse options of training where there is nothing to train on."""
    for name in names:
        if is_given(name):
            option = f"--{name.replace('_', '-')}"
            msg = (
                f"{option} is of training, and without --data nothing is trained. Give --data "
                f"NAME=KIND:PATH, or leave {option} out."
            )
            raise click.UsageError(msg)


def _batches(pairs: Sequence[tuple[str, int]], compared: Sequence[str]) -> dict[Scheme, int]:
    """Read `--batch SCHEME=N` several times.

    Raises:
        click.UsageError: A scheme is named twice, or is not compared.
    """
    batches: dict[Any, int] = {}
    for scheme, number in pairs:
        if scheme in batches or scheme not in compared:
            why = "is given twice" if scheme in batches else "is of a scheme that is not compared"
            msg = f"--batch {scheme}={number} {why}; give one for some of {', '.join(compared)}"
            raise click.UsageError(msg)
        batches[scheme] = number
    return batches


def make_costing(
    chosen: PaperOptions, study: Study, compared: Sequence[str] | None = None
) -> Costing:
    """Make what costs are of: the options', else the store's and the data's, else the paper's.

    Args:
        chosen: The command's values.
        study: Made of them.
        compared: Schemes whose steps are measured; None for the study's.

    Raises:
        click.UsageError: A batch is given for a scheme that is not compared.
    """
    from snow_deploy.models.source import Source
    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.measure.steps import Effort
    from snow_deploy.paper.printed import ARCHITECTURE, CLASSES, SOURCE_CLASSES

    classes = chosen.classes or ()
    if not classes and study.data:
        classes = tuple(len(study.splits(data).labels) for data in study.data)
    architecture, own = ARCHITECTURE, SOURCE_CLASSES
    if study.data or (chosen.architecture is None and study.store.has_source()):
        source = Source(study.store.source_weights())
        architecture, own = source.architecture, source.num_classes
    return Costing(
        architecture=chosen.architecture or architecture,
        source_classes=chosen.source_classes or own,
        classes=classes or CLASSES,
        effort=Effort(chosen.steps, chosen.rounds or 3),
        batches=_batches(chosen.batches, compared or study.schemes),
        speed=chosen.rounds is not None if chosen.speed is None else chosen.speed,
    )
