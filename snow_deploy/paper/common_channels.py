"""Which channels tasks have in common, by layer, and how selections settle: beyond the paper."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, cycle
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from snow_deploy.errors import TrainingError
from snow_deploy.models.source import Source
from snow_deploy.paper.columns import training_note
from snow_deploy.paper.plots import COLOURS, OURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.runs import read_selections, train_runs
from snow_deploy.paper.settling import poolings, share_final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from snow_deploy.paper.settling import History
    from snow_deploy.paper.study import Study

_COLUMNS = (
    Column("subscription", "subscription"),
    Column("channels", "N", "whole"),
    Column("kept", "K", "whole"),
    Column("common_share", "common to two tasks", "share"),
    Column("chance_share", "by chance", "share"),
    Column("in_all_share", "common to all", "share"),
)


def make_common_channels(study: Study) -> tuple[TableReport, Figure]:
    """Train SNOW on each data set and compare the channels that the tasks chose.

    Args:
        study: Its store holds the source; its first seed counts.

    Raises:
        TrainingError: There are fewer than two data sets.
    """
    if len(study.data) < 2:
        msg = "common-channels compares several tasks; give --data twice or more often"
        raise TrainingError(msg)
    seed = study.seeds[0]
    study = replace(study, seeds=(seed,))
    runs = {data: study.run(data, study.options("snow", seed, data=data)) for data in study.data}
    train_runs(study, list(runs.values()))
    histories = {data: read_selections(study.store, run.name) for data, run in runs.items()}
    source = Source(study.store.source_weights())
    channels = {item.name: item.channels for item in source.anatomy.subscriptions}
    rows = [
        _row(name, channels[name], [history[name][-1] for history in histories.values()])
        for name in poolings(next(iter(histories.values())))
    ]
    notes = [
        (
            "common to two tasks: of the K channels that one chose, the share that another chose "
            "too, a mean over all pairs; by chance it would be K/N."
        ),
        training_note(study),
    ]
    title = "Channels that tasks have in common"
    report = TableReport("common-channels", title, _COLUMNS, rows, notes, study.facts())
    return report, _draw(report, histories)


def _row(
    name: str, channels: int, chosen: list[np.ndarray[tuple[int], np.dtype[np.int64]]]
) -> dict[str, Cell]:
    sets = [set(selection.tolist()) for selection in chosen]
    kept = len(sets[0])
    return {
        "subscription": name,
        "channels": channels,
        "kept": kept,
        "common_share": fmean([len(a & b) / kept for a, b in combinations(sets, 2)]),
        "chance_share": kept / channels,
        "in_all_share": len(set.intersection(*sets)) / kept,
    }


def _draw(report: TableReport, histories: Mapping[str, History]) -> Figure:
    figure = new_figure(11.0, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1.0))
    places = np.arange(len(report.rows))
    shares = [float(cell or 0) for cell in report.column("common_share")]
    left.bar(places, shares, color=OURS, label="common to two tasks")
    chance = [float(cell or 0) for cell in report.column("chance_share")]
    left.plot(places, chance, "--", color="#c2570c", lw=1.2, label="by chance, K/N")
    every = max(1, len(places) // 16)
    names = [str(cell) for cell in report.column("subscription")]
    left.set_xticks(places[::every], names[::every], rotation=60, ha="right", fontsize=7)
    left.set(ylabel="share of the K chosen channels", ylim=(0, 1.15), title=report.title)
    left.legend(fontsize=8, frameon=False, ncols=2, loc="upper center")
    tidy(left)
    for colour, (data, history) in zip(cycle(COLOURS), histories.items(), strict=False):
        right.plot(history["epoch"], share_final(history), "-", color=colour, label=data)
    right.set(xlabel="epoch", ylabel="share of the final channels", title="how selections settle")
    right.set_ylim(0, 1.03)
    right.legend(fontsize=8, frameon=False)
    tidy(right)
    return figure
