"""Channel pooling as printed, and as we train it: accuracy of each reading of Algorithm 1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from snow_deploy.paper.accuracies import measure_shapes
from snow_deploy.paper.columns import accuracy_columns, accuracy_key, older_note, training_note
from snow_deploy.paper.plots import grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.models.pooling import PoolingNorm, PoolingOrder, PoolingWeights
    from snow_deploy.paper.study import Study


class Variant(NamedTuple):
    """One reading of the pooling.

    Attributes:
        weights: What training multiplies by.
        norm: Where the BatchNorm stands.
        order: In which the channels come out.
        whose: Who has it so.
    """

    weights: PoolingWeights
    norm: PoolingNorm
    order: PoolingOrder
    whose: str


VARIANTS: Final = (
    Variant("noisy", "before", "places", "ours"),
    Variant("clean", "before", "places", ""),
    Variant("noisy", "before", "descending", ""),
    Variant("noisy", "none", "descending", "section 2.2"),
    Variant("noisy", "after", "descending", "section 2.2, with BatchNorm"),
    Variant("clean", "none", "descending", "Algorithm 1"),
    Variant("clean", "after", "descending", "Algorithm 1, with BatchNorm"),
)

_COLUMNS = (
    Column("weights", "weights"),
    Column("norm", "BatchNorm"),
    Column("order", "order"),
    Column("whose", "as in"),
)


def make_pooling_variants(study: Study) -> tuple[TableReport, Figure]:
    """Train SNOW with each reading and tabulate it.

    Args:
        study: Its store holds the source.
    """
    deltas = [
        replace(
            study.delta,
            pooling_weights=each.weights,
            pooling_norm=each.norm,
            pooling_order=each.order,
        )
        for each in VARIANTS
    ]
    rows: list[dict[str, Cell]] = [
        {**each._asdict(), **row}
        for each, row in zip(VARIANTS, measure_shapes(study, deltas), strict=True)
    ]
    columns = [*_COLUMNS, *accuracy_columns(study)]
    notes = [
        (
            "weights: what training multiplies the chosen channels by, with the noise that chose "
            "them or without. BatchNorm: before or after them, or none. order: each channel at its "
            "place, or by falling score. Every row has the ReLU."
        ),
        training_note(study),
        *older_note(rows, study),
    ]
    title = "Readings of channel pooling"
    report = TableReport("pooling-variants", title, columns, rows, notes, study.facts())
    figure = new_figure(9.0, 3.6)
    axes = figure.subplots()
    labels = [f"{each.weights}\n{each.norm}\n{each.order}" for each in VARIANTS]
    values = {data: [row[accuracy_key(data)] for row in rows] for data in study.data}
    grouped_bars(axes, labels, values, form="{:.3f}")
    axes.set(ylabel="test accuracy", title=title)
    axes.tick_params(axis="x", labelsize=7)
    return report, figure
