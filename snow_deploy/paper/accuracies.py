"""Accuracies that several tables are of: by contender, and by a delta's shape and noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snow_deploy.paper.columns import accuracy_cells
from snow_deploy.paper.lifelong import remembered
from snow_deploy.paper.runs import train_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_deploy.models.options import DeltaOptions
    from snow_deploy.paper.measurement_cache import MeasurementCache
    from snow_deploy.paper.report import Cell
    from snow_deploy.paper.study import Run, SchemeAtBatch, Study


@dataclass(frozen=True)
class Reached:
    """What one run reaches on the final pictures.

    Attributes:
        accuracy: Share of them whose class is the likeliest answer, 0 to 1.
        accuracy_top5: Share whose class is among the five likeliest; None of runs from before that
            was measured.
        run: Name of the run, in whose folder its answers are; None where they are not kept.
    """

    accuracy: float
    accuracy_top5: float | None
    run: str | None

    @classmethod
    def of(cls, metrics: Mapping[str, float], run: str | None) -> Reached:
        """Read a run's metrics."""
        return cls(metrics["accuracy"], metrics.get("accuracy_top5"), run)


Accuracies = dict[str, dict[str, list[Reached]]]
"""By contender and data, one of each seed."""


def measure_accuracies(study: Study, kept: MeasurementCache) -> Accuracies:
    """Train every contender on every data set and seed; skip what is done.

    `lf` learns the data sets one after the other, and its accuracies are those of the network
    that it ends with, which is what would be served.
    """
    contenders = study.contenders()
    runs = {
        (each.name, seed): _runs(study, each, seed) for each in contenders for seed in study.seeds
    }
    metrics = train_runs(study, [run for several in runs.values() for run in several])
    found: Accuracies = {each.name: {data: [] for data in study.data} for each in contenders}
    for (name, _), several in runs.items():
        if several[0].options.scheme == "lf":
            last = several[-1]
            steps = remembered(study, several, metrics, kept)
            reached = {
                data: Reached.of(values, last.name if data == last.data else None)
                for data, values in steps[-1].items()
            }
        else:
            reached = {run.data: Reached.of(metrics[run.name], run.name) for run in several}
        for data, value in reached.items():
            found[name][data].append(value)
    return found


def tops(reached: list[Reached]) -> tuple[list[float], list[float] | None]:
    """Return the accuracies by seed, and those among five; None where a run lacks them."""
    five = [each.accuracy_top5 for each in reached if each.accuracy_top5 is not None]
    return [each.accuracy for each in reached], five if len(five) == len(reached) else None


def measure_shapes(
    study: Study, shapes: Sequence[DeltaOptions], *, varies_noise: bool = False
) -> list[dict[str, Cell]]:
    """Train SNOW in every shape on every data set and seed; skip what is done.

    Args:
        study: Its store holds the source.
        shapes: Shapes of the delta.
        varies_noise: The noise is a shape's own; otherwise it is what each data set has.

    Returns:
        The cells of `accuracy_columns` for each shape.
    """

    def shape_on(data: str, shape: DeltaOptions) -> DeltaOptions:
        return shape if varies_noise else replace(shape, sigma2=study.sigma2_of(data))

    runs = {
        (place, data, seed): study.run(
            data, study.options("snow", seed, data=data, delta=shape_on(data, shape))
        )
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


def _runs(study: Study, contender: SchemeAtBatch, seed: int) -> list[Run]:
    if contender.scheme == "lf":
        return study.chain(seed)
    return [
        study.run(
            data,
            study.options(contender.scheme, seed, data=data, batch_size=contender.batch_size),
        )
        for data in study.data
    ]
