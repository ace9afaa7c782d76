"""Accuracies that several tables are of: by scheme, and by a delta's shape and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.paper.columns import accuracy_cells
from snow_deploy.paper.lifelong import remembered
from snow_deploy.paper.runs import train_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.models.network import Scheme
    from snow_deploy.models.options import DeltaOptions
    from snow_deploy.paper.measurement_cache import MeasurementCache
    from snow_deploy.paper.report import Cell
    from snow_deploy.paper.study import Run, Study

Accuracies = dict[str, dict[str, list[float]]]
"""By scheme and data, one of each seed, 0 to 1."""


def measure_accuracies(study: Study, kept: MeasurementCache) -> Accuracies:
    """Train every scheme on every data set and seed; skip what is done.

    `lf` learns the data sets one after the other, and its accuracies are those of the network
    that it ends with, which is what would be served.
    """
    runs = {
        (scheme, seed): _runs(study, scheme, seed)
        for scheme in study.schemes
        for seed in study.seeds
    }
    metrics = train_runs(study, [run for several in runs.values() for run in several])
    found: Accuracies = {scheme: {data: [] for data in study.data} for scheme in study.schemes}
    for (scheme, seed), several in runs.items():
        if scheme == "lf":
            accuracies = remembered(study, seed, metrics, kept)[-1]
        else:
            accuracies = {run.data: metrics[run.name]["accuracy"] for run in several}
        for data, accuracy in accuracies.items():
            found[scheme][data].append(accuracy)
    return found


def _runs(study: Study, scheme: Scheme, seed: int) -> list[Run]:
    if scheme == "lf":
        return study.chain(seed)
    return [study.run(data, study.options(scheme, seed)) for data in study.data]


def measure_shapes(study: Study, shapes: Sequence[DeltaOptions]) -> list[dict[str, Cell]]:
    """Train SNOW in every shape on every data set and seed; skip what is done.

    Returns:
        For each shape, under the keys of `accuracy_columns`, the mean over the seeds and the
        spread of each data set; and `mean`, over data sets too.
    """
    runs = {
        (place, data, seed): study.run(data, study.options("snow", seed, delta=shape))
        for data in study.data
        for seed in study.seeds
        for place, shape in enumerate(shapes)
    }
    metrics = train_runs(study, list(runs.values()))
    return [
        accuracy_cells(
            {
                data: [metrics[runs[place, data, seed].name]["accuracy"] for seed in study.seeds]
                for data in study.data
            }
        )
        for place in range(len(shapes))
    ]
