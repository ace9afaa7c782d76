"""The accuracy of every scheme on every data set, by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.paper.lifelong import remembered
from snow_deploy.paper.runs import train_runs

if TYPE_CHECKING:
    from snow_deploy.models.network import Scheme
    from snow_deploy.paper.measurement_cache import MeasurementCache
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
