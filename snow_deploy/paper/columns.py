"""Columns and notes that several tables have."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import TYPE_CHECKING

from snow_deploy.paper.report import Cell, Column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_deploy.paper.study import Study


def accuracy_columns(study: Study) -> list[Column]:
    """Return a column for each data set, their mean, and the paper's."""
    columns = []
    for data in study.data:
        columns.append(Column(accuracy_key(data), data, "share"))
        if len(study.seeds) > 1:
            columns.append(Column(spread_key(data), "±", "share"))
    if len(study.data) > 1:
        columns.append(Column("mean", "mean", "share"))
    return [*columns, Column("paper_mean", "paper", "share", printed=True)]


def accuracy_key(data: str) -> str:
    """Return the key of a data set's accuracy; no name of a data set makes it another column's."""
    return f"{data}_accuracy"


def spread_key(data: str) -> str:
    """Return the key of the spread of a data set's accuracy over the seeds."""
    return f"{data}_accuracy_spread"


def training_note(study: Study, *, spread: bool = True) -> str:
    """Say what the accuracies are of; without `spread` they are means alone."""
    over = "± is the standard deviation over them" if spread else "the mean over them"
    return (
        f"test accuracy, 0 to 1, after the last of {study.epochs} epochs, recipe {study.recipe}, "
        f"batch {study.batch_size}, {study.image_size} px, "
        + (f"{len(study.seeds)} seeds; {over}." if len(study.seeds) > 1 else "one seed.")
    )


def accuracy_cells(by_data: Mapping[str, Sequence[float]]) -> dict[str, Cell]:
    """Return the cells of `accuracy_columns` but for the paper's: means, spreads and their mean.

    Args:
        by_data: Accuracies by data set, one of each seed, 0 to 1.
    """
    cells: dict[str, Cell] = {}
    for data, values in by_data.items():
        cells[accuracy_key(data)], cells[spread_key(data)] = fmean(values), spread(values)
    everything = [value for values in by_data.values() for value in values]
    return {**cells, "mean": fmean(everything) if everything else None}


def spread(values: Sequence[float]) -> float | None:
    """Return the sample's standard deviation; None for fewer than two values."""
    return stdev(values) if len(values) > 1 else None
