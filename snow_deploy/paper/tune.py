"""Choosing a recipe for every scheme by one protocol, on held-out training pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from statistics import fmean
from typing import TYPE_CHECKING, Final

from torch import nn

from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.paper.measurement_cache import MeasurementCache
from snow_deploy.paper.plots import grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.runs import train_what_can_be
from snow_deploy.paper.search_grid import (
    SETTINGS,
    SearchGrid,
    Setting,
    Settings,
    at_an_end,
    first_settings,
    has,
    recipe_from,
)
from snow_deploy.paper.tuned import Choice, Tuned, read_tuned
from snow_deploy.training.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from snow_deploy.models.network import Scheme
    from snow_deploy.paper.study import Run, Study

FILE: Final = "tuned.json"
"""In the output's folder."""
_COLUMNS = (
    Column("data", "data"),
    Column("scheme", "scheme"),
    Column("trials", "trials", "whole"),
    Column("accuracy", "held-out accuracy", "share"),
    *(Column(setting, setting) for setting in SETTINGS),
    Column("edges", "at an end of its list"),
)


@dataclass(frozen=True)
class Score:
    """What a recipe reaches on the held-out pictures, the mean over the seeds.

    Attributes:
        accuracy: 0 to 1; 0 of a run that was given up.
        loss: Mean cross-entropy, which decides between equal accuracies.
    """

    accuracy: float
    loss: float


@dataclass
class _Search:
    """The way of one scheme on one data set.

    Attributes:
        grid: What is tried.
        settings: Chosen so far.
        tried: By settings, in order, what they reached.
    """

    data: str
    scheme: Scheme
    grid: SearchGrid
    settings: Settings
    tried: dict[tuple[tuple[Setting, float | str], ...], Score] = field(default_factory=dict)


def choose_recipes(study: Study, grid: SearchGrid) -> tuple[TableReport, Figure]:
    """Choose a recipe for each scheme on each data set; write them into `tuned.json`.

    One setting after another: all its values are trained with what was chosen before, and the best
    accuracy on the held-out training pictures wins. The test pictures are never read. Each trial is
    kept in a file of its own, so that an interrupted search goes on where it was.

    Args:
        study: Its store holds the source, its `held_out` the seed of the held-out part. Trained
            trials lie in a store beside it and are removed when they are measured.
        grid: What is tried, for every scheme alike.

    Returns:
        What was chosen.
    """
    trials = _store_of_trials(study)
    kept = MeasurementCache(study.output / "measured")
    source = Source(study.store.source_weights())
    features, grid = source.anatomy.head_channels, _fitting(grid, source)
    searches = [
        _Search(data, scheme, fitting, first_settings(scheme, fitting))
        for data in study.data
        for scheme in study.schemes
        for fitting in [_beginning_as_fit(grid, study.delta) if scheme == "snow" else grid]
    ]
    for setting in SETTINGS:
        concerned = [each for each in searches if has(each.scheme, setting)]
        asked = [
            (search, {**search.settings, setting: value})
            for search in concerned
            for value in search.grid.values(setting)
        ]
        new = [pair for pair in asked if tuple(pair[1].items()) not in pair[0].tried]
        scores = _measure(replace(study, store=trials), new, features, kept)
        for (search, settings), score in zip(new, scores, strict=True):
            search.tried[tuple(settings.items())] = score
        for search in concerned:
            search.settings = _best(search, setting)
            study.say(f"{search.data}, {search.scheme}: {setting} {search.settings[setting]}")
    found = _write(study, searches, features)
    return _report(study, searches, found)


def _fitting(grid: SearchGrid, source: Source) -> SearchGrid:
    """Leave out what a source whose classifier is no linear layer cannot do."""
    if isinstance(source.network.get_submodule(source.anatomy.classifier), nn.Linear):
        return grid
    return replace(grid, starts=("random",), second_losses=(0.0,))


def _beginning_as_fit(grid: SearchGrid, delta: DeltaOptions) -> SearchGrid:
    """Leave out the random start of a classifier that reads taps: it begins as the fit of them."""
    return replace(grid, starts=("linear",)) if delta.classifier_reads == "taps" else grid


def _best(search: _Search, setting: Setting) -> Settings:
    """Return the settings with the best value; of equally good ones the first."""
    candidates = [{**search.settings, setting: value} for value in search.grid.values(setting)]

    def rank(settings: Settings) -> tuple[float, float]:
        score = search.tried[tuple(settings.items())]
        return (score.accuracy, -score.loss)

    return max(candidates, key=rank)


def _store_of_trials(study: Study) -> Store:
    """Return a store for what is trained only to be measured, with the study's source in it."""
    trials = Store(study.output / "trials")
    trials.put_source(study.store.source_weights())
    return trials


def _measure(
    study: Study,
    asked: Sequence[tuple[_Search, Settings]],
    features: int,
    kept: MeasurementCache,
) -> list[Score]:
    """Train what is not measured yet, with every seed, and return what each recipe reaches."""
    runs = [
        [_run(study, search, settings, features, seed) for seed in study.seeds]
        for search, settings in asked
    ]
    missing = [
        run for several in runs for run in several if kept.find("trial", _facts(study, run)) is None
    ]
    found, failed = train_what_can_be(study, missing)
    for run in missing:
        kept.get("trial", _facts(study, run), partial(_reached, found.get(run.name)))
        study.store.task_path(run.name).unlink(missing_ok=True)
    for name, why in failed.items():
        study.say(f"{name} was given up: {why}; it counts as no picture right")
    return [_mean([_score(kept, study, run) for run in several]) for several in runs]


def _run(study: Study, search: _Search, settings: Settings, features: int, seed: int) -> Run:
    recipe = recipe_from(settings, search.scheme, features)
    return study.run(search.data, study.options(search.scheme, seed, recipe=recipe))


def _facts(study: Study, run: Run) -> Mapping[str, str]:
    return {"run": run.name, "pictures": study.splits(run.data).fingerprint}


def _reached(metrics: Mapping[str, float] | None) -> dict[str, float | None]:
    """Return what is kept of a trial; of one that was given up no picture is right."""
    if metrics is None:
        return {"accuracy": 0.0, "loss": None}
    return {key: metrics[key] for key in ("accuracy", "loss")}


def _score(kept: MeasurementCache, study: Study, run: Run) -> Score:
    value = kept.find("trial", _facts(study, run)) or _reached(None)
    loss = value["loss"]
    return Score(float(value["accuracy"] or 0.0), float("inf") if loss is None else loss)


def _mean(scores: Sequence[Score]) -> Score:
    return Score(fmean([s.accuracy for s in scores]), fmean([s.loss for s in scores]))


def _write(study: Study, searches: Sequence[_Search], features: int) -> Path:
    """Add what was chosen to the file, which may hold other schemes and data already."""
    path = study.output / FILE
    source = study.store.source_weights().fingerprint()
    choices: dict[tuple[str, str], Choice] = {}
    for search in searches:
        choices[search.data, search.scheme] = Choice(
            recipe_from(search.settings, search.scheme, features),
            search.tried[tuple(search.settings.items())].accuracy,
            len(search.tried),
            at_an_end(search.settings, search.grid),
            study.splits(search.data).fingerprint,
            study.held_out,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    form = study.delta if any(each.scheme == "snow" for each in searches) else DeltaOptions()
    found = Tuned(study.epochs, study.batch_size, study.image_size, source, choices, form)
    if path.is_file():
        old = read_tuned(path)
        if old.is_like(found):
            found = old.beside(found)
        else:
            _put_aside(path, study)
    found.write(path)
    return path


def _put_aside(path: Path, study: Study) -> None:
    """Give a file that the new choices cannot stand in another name."""
    places = (path.with_stem(f"{path.stem}-{number}") for number in count(1))
    aside = next(place for place in places if not place.exists())
    path.rename(aside)
    study.say(f"{path} was for other epochs, sizes, source or form; it is {aside} now")


def _report(study: Study, searches: Sequence[_Search], path: Path) -> tuple[TableReport, Figure]:
    rows: list[dict[str, Cell]] = [
        {
            "data": search.data,
            "scheme": search.scheme,
            "trials": len(search.tried),
            "accuracy": search.tried[tuple(search.settings.items())].accuracy,
            **{setting: str(value) for setting, value in search.settings.items()},
            "edges": ", ".join(at_an_end(search.settings, search.grid)) or "no",
        }
        for search in searches
    ]
    sizes = [f"{data}: {len(study.splits(data).final[1])}" for data in study.data]
    seeds = ", ".join(map(str, study.seeds))
    notes = [
        (
            f"chosen on held-out training pictures ({', '.join(sizes)}; part {study.held_out}), "
            "one setting after another, the same values for every scheme that has the setting; "
            f"seeds {seeds}, {study.epochs} epochs, {study.image_size} px. No test picture was "
            "read. Rates are at a batch of 256."
        ),
        f"{path} holds them: give it to table7 and the others as --tuned.",
    ]
    title = "Recipes chosen for every scheme"
    facts = {
        **study.facts(),
        "held_out": study.held_out,
        "trials": {
            f"{search.data} {search.scheme}": [
                {
                    **dict(settings),
                    "accuracy": score.accuracy,
                    "loss": score.loss if math.isfinite(score.loss) else None,
                }
                for settings, score in search.tried.items()
            ]
            for search in searches
        },
    }
    report = TableReport("tune", title, _COLUMNS, rows, notes, facts)
    figure = new_figure(7.0, 3.4)
    axes = figure.subplots()
    by_key = {(row["data"], row["scheme"]): row["accuracy"] for row in rows}
    values = {data: [by_key[data, scheme] for scheme in study.schemes] for data in study.data}
    grouped_bars(axes, list(study.schemes), values, form="{:.3f}")
    axes.set(ylabel="accuracy on held-out training pictures", title=title)
    return report, figure
