"""Columns and notes that several tables have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.paper.report import Column

if TYPE_CHECKING:
    from snow_deploy.paper.study import Study


def accuracy_columns(study: Study) -> list[Column]:
    """Return a column for each data set, their mean, and the paper's."""
    columns = []
    for data in study.data:
        columns.append(Column(data, data, "share"))
        if len(study.seeds) > 1:
            columns.append(Column(f"{data}_spread", "±", "share"))
    if len(study.data) > 1:
        columns.append(Column("mean", "mean", "share"))
    return [*columns, Column("paper_mean", "paper", "share", printed=True)]


def training_note(study: Study) -> str:
    """Say what the accuracies are of."""
    return (
        f"test accuracy, 0 to 1, after the last of {study.epochs} epochs, recipe {study.recipe}, "
        f"batch {study.batch_size}, {study.image_size} px, {len(study.seeds)} seed(s)"
        + ("; ± is the standard deviation over them." if len(study.seeds) > 1 else ".")
    )
