"""Table 9: learning one task after the other: what is forgotten."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from snow_deploy.errors import TrainingError
from snow_deploy.paper.columns import accuracy_key, spread, training_note
from snow_deploy.paper.lifelong import remembered
from snow_deploy.paper.measurement_cache import MeasurementCache
from snow_deploy.paper.plots import COLOURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.runs import train_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.study import Study

Steps = list[dict[str, float]]
"""After each data set learned, the accuracy on those so far, by name."""


def make_table9(study: Study) -> tuple[TableReport, Figure]:
    """Train LF through the data sets in order, and SNOW on each; tabulate what is left.

    Args:
        study: Its store holds the source; the order of its data is the order of learning.

    Raises:
        TrainingError: There are fewer than two data sets.
    """
    if len(study.data) < 2:
        msg = "table9 learns one data set after the other; give --data twice or more often"
        raise TrainingError(msg)
    chains = [run for seed in study.seeds for run in study.chain(seed)]
    own = {
        (data, seed): study.run(data, study.options("snow", seed))
        for data in study.data
        for seed in study.seeds
    }
    metrics = train_runs(study, [*chains, *own.values()])
    kept = MeasurementCache(study.output / "measured")
    steps_by_seed = [remembered(study, seed, metrics, kept) for seed in study.seeds]
    learned = {
        "lf": _mean_steps(steps_by_seed),
        "snow": _snow_steps(
            {
                data: fmean([metrics[own[data, seed].name]["accuracy"] for seed in study.seeds])
                for data in study.data
            }
        ),
    }
    rows = [row for scheme, steps in learned.items() for row in _rows(scheme, steps)]
    last = [_forgotten(steps, len(steps) - 1) for steps in steps_by_seed]
    for row in rows:
        final = row["scheme"] == "lf" and row["after"] == list(study.data)[-1]
        row["forgotten_spread"] = spread([value or 0.0 for value in last]) if final else None
    columns = [
        Column("scheme", "scheme"),
        Column("after", "after learning"),
        *(Column(accuracy_key(data), data, "share") for data in study.data),
        Column("forgotten", "forgotten", "share"),
        *([Column("forgotten_spread", "±", "share")] if len(study.seeds) > 1 else []),
        Column("paper_forgotten", "paper", "share", printed=True),
    ]
    notes = [
        training_note(study, spread=False),
        (
            "forgotten: mean over the earlier data sets of the accuracy when it was learned, less "
            "the accuracy now. SNOW's tasks share nothing that is trained: theirs cannot move."
        ),
    ]
    if len(study.seeds) > 1:
        notes.append("± is the standard deviation over the seeds of what LF forgot in the end.")
    title = "Table 9: lifelong learning"
    facts = {**study.facts(), "lf_by_seed": steps_by_seed}
    report = TableReport("table9", title, columns, rows, notes, facts)
    return report, _draw(title, learned, list(study.data))


def _mean_steps(chains: Sequence[Steps]) -> Steps:
    """Average over seeds."""
    return [
        {data: fmean([steps[place][data] for steps in chains]) for data in row}
        for place, row in enumerate(chains[0])
    ]


def _snow_steps(accuracies: Mapping[str, float]) -> Steps:
    names = list(accuracies)
    return [{data: accuracies[data] for data in names[: place + 1]} for place in range(len(names))]


def _rows(scheme: str, steps: Steps) -> list[dict[str, Cell]]:
    names = list(steps[-1])
    rows = []
    for place, step in enumerate(steps):
        row: dict[str, Cell] = {"scheme": scheme, "after": names[place]}
        row |= {accuracy_key(data): step.get(data) for data in names}
        rows.append({**row, "forgotten": _forgotten(steps, place), "paper_forgotten": None})
    return rows


def _forgotten(steps: Steps, place: int) -> float | None:
    """Return how much of the earlier accuracies is lost at one place of the order."""
    names = list(steps[-1])[:place]
    lost = [steps[number][data] - steps[place][data] for number, data in enumerate(names)]
    return fmean(lost) if lost else None


def _draw(title: str, learned: Mapping[str, Steps], names: Sequence[str]) -> Figure:
    figure = new_figure(6.4, 3.6)
    axes = figure.subplots()
    for scheme, steps in learned.items():
        style = "o-" if scheme == "lf" else "s--"
        for number, data in enumerate(names):
            places = range(number, len(names))
            values = [steps[place][data] for place in places]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(places, values, style, color=colour, label=f"{data}, {scheme}", ms=4, lw=1.4)
    axes.set_xticks(range(len(names)), [f"after {data}" for data in names])
    axes.set(ylabel="test accuracy", title=title)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    tidy(axes)
    return figure
