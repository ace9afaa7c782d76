"""SNOW's accuracy by the delta's shape and noise: what several tables vary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.paper.columns import accuracy_key, spread_key
from snow_deploy.paper.runs import train_runs
from snow_deploy.paper.spread import mean, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.models.options import DeltaOptions
    from snow_deploy.paper.report import Cell
    from snow_deploy.paper.study import Study

Accuracy = dict[str, "Cell"]


def measure_shapes(study: Study, shapes: Sequence[DeltaOptions]) -> list[Accuracy]:
    """Train SNOW in every shape on every data set and seed; skip what is done.

    Returns:
        A table for each shape: under the keys of `accuracy_columns`, the mean over the seeds and
        the spread of each data set; and `mean`, over data sets too.
    """
    runs = {
        (place, data, seed): study.run(data, study.options("snow", seed, delta=shape))
        for data in study.data
        for seed in study.seeds
        for place, shape in enumerate(shapes)
    }
    metrics = train_runs(study, list(runs.values()))
    rows: list[Accuracy] = []
    for place in range(len(shapes)):
        row: Accuracy = {}
        everything: list[float] = []
        for data in study.data:
            values = [metrics[runs[place, data, seed].name]["accuracy"] for seed in study.seeds]
            row[accuracy_key(data)], row[spread_key(data)] = mean(values), spread(values)
            everything += values
        rows.append({**row, "mean": mean(everything) if everything else None})
    return rows
