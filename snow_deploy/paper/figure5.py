"""Figure 5: the selected channels of a subscription over training."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from snow_deploy.models.source import Source
from snow_deploy.paper.choices_plot import draw_choices, pick_subscription
from snow_deploy.paper.columns import training_note
from snow_deploy.paper.plots import new_figure
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.runs import read_selections, train_runs
from snow_deploy.paper.settling import poolings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.paper.settling import History
    from snow_deploy.paper.study import Study

_COLUMNS = (
    Column("data", "data"),
    Column("epoch", "epoch", "whole"),
    Column("changed_share", "new channels, drawn pooling", "share"),
    Column("all_changed_share", "new channels, all poolings", "share"),
)


def make_figure5(study: Study, subscription: str | None = None) -> tuple[TableReport, Figure]:
    """Train SNOW with the first seed and show which channels it had chosen at which moment.

    Args:
        study: Its store holds the source.
        subscription: Whose channels are drawn; None takes the middle one.

    Raises:
        TrainingError: There is no such subscription.
    """
    seed = study.seeds[0]
    study = replace(study, seeds=(seed,))
    runs = {data: study.run(data, study.options("snow", seed, data=data)) for data in study.data}
    train_runs(study, list(runs.values()))
    histories = {data: read_selections(study.store, run.name) for data, run in runs.items()}
    source = Source(study.store.source_weights())
    channels = {item.name: item.channels for item in source.anatomy.subscriptions}
    shown = pick_subscription(next(iter(histories.values())), subscription)
    rows = [row for data, history in histories.items() for row in _rows(data, history, shown)]
    notes = [
        (
            "new: share of the chosen channels that were not chosen an epoch before. The paper: "
            "the selections change frequently in the beginning and get stabilised after additional "
            "epochs."
        ),
        training_note(study),
    ]
    title = f"Figure 5: the channels that {shown} selects over training"
    facts = {**study.facts(), "subscription": shown}
    report = TableReport("figure5", title, _COLUMNS, rows, notes, facts)
    figure = new_figure(4.4 * len(histories), 4.2)
    for axes, (data, history) in zip(
        figure.subplots(1, len(histories), squeeze=False)[0], histories.items(), strict=True
    ):
        draw_choices(axes, history, shown, channels[shown])
        axes.set(title=data, xlabel=f"channel of {shown}", ylabel="epoch")
    return report, figure


def _rows(data: str, history: History, shown: str) -> list[dict[str, Cell]]:
    """Compare the choice at each epoch's end with that of the one before."""
    moments = history["epoch"]
    ends = [int(np.flatnonzero(moments <= epoch)[-1]) for epoch in range(int(moments[-1]) + 1)]
    return [
        {
            "data": data,
            "epoch": epoch + 1,
            "changed_share": share_new([history[shown]], before, now),
            "all_changed_share": share_new(list(poolings(history).values()), before, now),
        }
        for epoch, (before, now) in enumerate(pairwise(ends))
    ]


def share_new(
    chosen: list[np.ndarray[tuple[int, int], np.dtype[np.int64]]], before: int, now: int
) -> float:
    """Return the share of channels chosen at one moment that were not at another.

    Args:
        chosen: [R, K] of each subscription.
        before: Row of the earlier moment.
        now: Row of the later one.
    """
    new = sum(int((~np.isin(each[now], each[before])).sum()) for each in chosen)
    return new / sum(each.shape[1] for each in chosen)
