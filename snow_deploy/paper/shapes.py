"""SNOW's accuracy by the delta's shape, noise and subscription: what several tables vary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.paper.accuracies import Reached, tops
from snow_deploy.paper.columns import accuracy_cells
from snow_deploy.paper.runs import train_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.models.options import DeltaOptions
    from snow_deploy.paper.report import Cell
    from snow_deploy.paper.study import Study


def measure_shapes(study: Study, shapes: Sequence[DeltaOptions]) -> list[dict[str, Cell]]:
    """Train SNOW in every shape on every data set and seed; skip what is done.

    Returns:
        For each shape the cells of `accuracy_columns`.
    """
    runs = {
        (place, data, seed): study.run(data, study.options("snow", seed, data=data, delta=shape))
        for data in study.data
        for seed in study.seeds
        for place, shape in enumerate(shapes)
    }
    metrics = train_runs(study, list(runs.values()))

    def reached(place: int, data: str) -> list[Reached]:
        names = [runs[place, data, seed].name for seed in study.seeds]
        return [Reached.of(metrics[name], name) for name in names]

    return [
        accuracy_cells({data: tops(reached(place, data)) for data in study.data})
        for place in range(len(shapes))
    ]
