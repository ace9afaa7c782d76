"""Columns and notes that several tables have."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import TYPE_CHECKING

from snow_deploy.paper import printed
from snow_deploy.paper.report import Column
from snow_deploy.training.options import REFERENCE_BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_deploy.paper.report import Cell
    from snow_deploy.paper.study import Study


def accuracy_columns(study: Study) -> list[Column]:
    """Return columns for each data set: accuracy, its spread, that among five; and their mean."""
    columns = []
    for data in study.data:
        columns.append(Column(accuracy_key(data), data, "share"))
        if len(study.seeds) > 1:
            columns.append(Column(spread_key(data), "±", "share"))
        columns.append(Column(top5_key(data), "top-5", "share"))
    if len(study.data) > 1:
        columns.append(Column("mean", "mean", "share"))
    return columns


def accuracy_cells(
    accuracies: Mapping[str, tuple[Sequence[float], Sequence[float] | None]],
) -> dict[str, Cell]:
    """Return the cells of `accuracy_columns`.

    Args:
        accuracies: Accuracies by data set: top-1 by seed and top-5 by seed, 0 to 1; no top-5
            where it was not measured.
    """
    row: dict[str, Cell] = {}
    everything: list[float] = []
    for data, (first, five) in accuracies.items():
        row[accuracy_key(data)], row[spread_key(data)] = fmean(first), spread(first)
        row[top5_key(data)] = None if five is None else fmean(five)
        everything += first
    return {**row, "mean": fmean(everything) if everything else None}


def printed_columns(*, top5: bool) -> list[Column]:
    """Return a column of the paper's accuracies for each of its data sets."""
    columns = []
    for data in printed.DATA:
        title = f"paper: {printed.TITLES[data]}"
        columns.append(Column(f"paper_{data}", title, "fine share", printed=True))
        if top5:
            columns.append(Column(f"paper_{data}_top5", "top-5", "fine share", printed=True))
    return columns


def printed_cells(accuracies: Mapping[str, tuple[float, float] | float] | None) -> dict[str, Cell]:
    """Return the cells of `printed_columns`: the paper's percents as shares."""
    row: dict[str, Cell] = {}
    for data, values in (accuracies or {}).items():
        first, *rest = values if isinstance(values, tuple) else (values,)
        row[f"paper_{data}"] = printed.as_share(first)
        if rest:
            row[f"paper_{data}_top5"] = printed.as_share(rest[0])
    return row


def spread(values: Sequence[float]) -> float | None:
    """Return the sample's standard deviation; None for fewer than two values."""
    return stdev(values) if len(values) > 1 else None


def accuracy_key(data: str) -> str:
    """Return the key of a data set's accuracy; no name of a data set makes it another column's."""
    return f"{data}_accuracy"


def spread_key(data: str) -> str:
    """Return the key of the spread of a data set's accuracy over the seeds."""
    return f"{data}_accuracy_spread"


def top5_key(data: str) -> str:
    """Return the key of the share of pictures whose class is among the five likeliest."""
    return f"{data}_accuracy_top5"


def training_note(study: Study, *, spread: bool = True) -> str:
    """Say what the accuracies are of; without `spread` they are means alone."""
    over = "± is the standard deviation over them" if spread else "the mean over them"
    recipe = f"recipe {study.recipe}" if study.tuned is None else "recipes chosen for each scheme"
    own = study.batch_size is None and study.recipe == "paper"
    batch = "the paper's batches" if own else f"batch {study.batch_size or REFERENCE_BATCH}"
    return (
        f"test accuracy, 0 to 1, after the last of {study.epochs} epochs, {recipe}, {batch}, "
        f"{study.image_size} px, "
        + (f"{len(study.seeds)} seeds; {over}." if len(study.seeds) > 1 else "one seed.")
        + "".join(f" {line}" for line in form_note(study))
    )


def form_note(study: Study) -> list[str]:
    """Say of what form SNOW's deltas are, where that is not the paper's."""
    words = study.delta.form_words()
    return [f"SNOW's deltas are not the paper's: {', '.join(words)}."] if words else []


def papers_note(study: Study) -> list[str]:
    """Say at which batches the paper's figures are, where some of ours are at others."""
    rows = [(each.row(), each.batch_size) for each in study.contenders() if each.scheme != "lf"]
    if all(printed.RATES[row][0] == batch for row, batch in rows):
        return sigma2_notes(study)
    batches = ", ".join(f"{row} {printed.RATES[row][0]}" for row, _ in dict(rows).items())
    return [f"paper: at batches of its own: {batches}.", *sigma2_notes(study)]


def sigma2_notes(study: Study) -> list[str]:
    """Say where the paper's SNOW has another variance of the noise than ours."""
    if "snow" not in study.schemes:
        return []
    known = {data: printed.dataset(spec) for data, spec in study.data.items()}
    return [
        f"paper: {printed.TITLES[its]} with sigma2 {printed.SIGMA2[its]:g}; here {data} has "
        f"{study.sigma2_of(data):g}."
        for data, its in known.items()
        if its is not None and printed.SIGMA2[its] != study.sigma2_of(data)
    ]


def older_note(rows: Sequence[Mapping[str, Cell]], study: Study) -> list[str]:
    """Say where top-5 is missing because a run is from before it was measured."""
    lacking = [data for data in study.data if any(row.get(top5_key(data)) is None for row in rows)]
    if not lacking:
        return []
    return [
        (
            f"no top-5 of {', '.join(lacking)}: some of its runs are from before that was "
            "measured. Train them into another --store to have it."
        )
    ]
