"""Table 9: learning one data set after the other, in two orders: what LF forgets."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from snow_deploy.errors import TrainingError
from snow_deploy.paper import printed
from snow_deploy.paper.columns import accuracy_key, printed_columns, spread, training_note
from snow_deploy.paper.costs import speed_note, to_megabytes
from snow_deploy.paper.lifelong import remembered
from snow_deploy.paper.measure.steps import measure_steps
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import COLOURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.runs import train_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.study import Study

Steps = list[dict[str, float]]
"""After each data set learned, the accuracy on those so far, by name."""


def make_table9(
    study: Study, costing: Costing, second_order: Sequence[str] = ()
) -> tuple[TableReport, Figure]:
    """Train LF through the data sets in two orders, and SNOW on each; tabulate what is left.

    Args:
        study: Its store holds the source; the order of its data is order A.
        costing: What a step of LF is measured on.
        second_order: Order B, the same names; empty for the reverse of A.

    Raises:
        TrainingError: There are fewer than two data sets, or the second order has other names.
    """
    orders = _orders(study, second_order)
    chains = {
        order: [study.chain(seed, names) for seed in study.seeds] for order, names in orders.items()
    }
    own = {
        (data, seed): study.run(data, study.options("snow", seed, data=data))
        for data in study.data
        for seed in study.seeds
    }
    lf_runs = [run for several in chains.values() for chain in several for run in chain]
    metrics = train_runs(study, [*lf_runs, *own.values()])
    kept = MeasurementCache(study.output / "measured")
    by_seed = {
        order: [_accuracies(remembered(study, chain, metrics, kept)) for chain in several]
        for order, several in chains.items()
    }
    learned = {("lf", order): _mean_steps(steps) for order, steps in by_seed.items()}
    learned["snow", "any"] = _snow_steps(
        {
            data: fmean([metrics[own[data, seed].name]["accuracy"] for seed in study.seeds])
            for data in study.data
        }
    )
    rows = [
        row for (scheme, order), steps in learned.items() for row in _rows(scheme, order, steps)
    ]
    for order, steps in by_seed.items():
        last = [float(forgotten(each, len(each) - 1) or 0) for each in steps]
        _last_of(rows, order)["forgotten_spread"] = spread(last)
    rows += [row for order in printed.LEARNED for row in _printed_rows(order)]
    notes, cost = _notes(study, costing, kept)
    facts = {**study.facts(), "orders": orders, "lf_by_seed": by_seed, "training": cost}
    title = "Table 9: learning without forgetting, in two orders"
    report = TableReport("table9", title, _columns(study), rows, notes, facts)
    return report, _draw(title, learned)


def _orders(study: Study, second: Sequence[str]) -> dict[str, list[str]]:
    names = list(study.data)
    if len(names) < 2:
        msg = "table9 learns one data set after the other; give --data twice or more often"
        raise TrainingError(msg)
    other = list(second) or names[::-1]
    if sorted(other) != sorted(names):
        msg = (
            f"--second-order has {', '.join(other)}, expected each of {', '.join(names)} once. "
            "Name the data sets as --data does."
        )
        raise TrainingError(msg)
    return {"a": names, "b": other}


def _columns(study: Study) -> list[Column]:
    return [
        Column("scheme", "scheme"),
        Column("order", "order"),
        Column("after", "after learning"),
        *(Column(accuracy_key(data), data, "share") for data in study.data),
        Column("forgotten", "forgotten", "share"),
        *([Column("forgotten_spread", "±", "share")] if len(study.seeds) > 1 else []),
        Column("paper_forgotten", "paper", "share", printed=True),
        *printed_columns(top5=False),
    ]


def _notes(study: Study, costing: Costing, kept: MeasurementCache) -> tuple[list[str], Cells]:
    """Say what was trained and what the paper has; measure a step of LF if speeds are wanted."""
    notes = [
        training_note(study, spread=False),
        (
            "forgotten: mean over the earlier data sets of the accuracy when it was learned, less "
            "the accuracy now. SNOW's tasks share nothing that is trained: theirs cannot move. The "
            "paper's two orders go from Car and from Action to Food, over five data sets; beside "
            "ours stands what it forgot in the end."
        ),
    ]
    if len(study.seeds) > 1:
        notes.append("± is the standard deviation over the seeds of what LF forgot in the end.")
    speed, memory = printed.LF_TRAINING
    paper = f"the paper's, at {printed.RATES['lf'][0]}, has {speed} images/s and {memory} GB"
    cost: Cells = {}
    if costing.speed:
        setup = costing.setup(study.options("lf", 0))
        (figures,) = measure_steps({"lf": setup}, kept, costing.effort, study.say).values()
        device = str(describe_device(default_device())["device"])
        peak = to_megabytes(figures.peak_bytes)
        notes.append(
            f"training of LF: {figures.images_per_s:.2f} images/s and {peak / 1e3:.2f} GB; "
            f"{paper}. " + speed_note({"lf": figures}, study.image_size, device)
        )
        cost = {"images_per_s": figures.images_per_s, "peak_megabytes": peak}
    return notes, cost


Cells = dict[str, Cell]


def _accuracies(steps: Sequence[Mapping[str, Mapping[str, float]]]) -> Steps:
    return [{data: values["accuracy"] for data, values in step.items()} for step in steps]


def _mean_steps(chains: Sequence[Steps]) -> Steps:
    """Average over seeds."""
    return [
        {data: fmean([steps[place][data] for steps in chains]) for data in row}
        for place, row in enumerate(chains[0])
    ]


def _snow_steps(accuracies: Mapping[str, float]) -> Steps:
    names = list(accuracies)
    return [{data: accuracies[data] for data in names[: place + 1]} for place in range(len(names))]


def _rows(scheme: str, order: str, steps: Steps) -> list[Cells]:
    names = list(steps[-1])
    rows = []
    for place, step in enumerate(steps):
        row: Cells = {"scheme": scheme, "order": order, "after": names[place]}
        row |= {accuracy_key(data): step.get(data) for data in names}
        ended = scheme == "lf" and place == len(steps) - 1
        papers = printed.as_share(printed.papers_forgotten(order)) if ended else None
        rows.append({**row, "forgotten": forgotten(steps, place), "paper_forgotten": papers})
    return rows


def _printed_rows(order: str) -> list[Cells]:
    """Return what the paper has after each data set of one of its orders."""
    steps = printed.learned_steps(order)
    return [
        {
            "scheme": "lf (paper)",
            "order": order,
            "after": printed.TITLES[data],
            "paper_forgotten": forgotten(steps, place),
            **{f"paper_{name}": value for name, value in step.items()},
        }
        for place, (data, step) in enumerate(zip(steps[-1], steps, strict=True))
    ]


def _last_of(rows: Sequence[Cells], order: str) -> Cells:
    return [row for row in rows if (row["scheme"], row["order"]) == ("lf", order)][-1]


def forgotten(steps: Steps, place: int) -> float | None:
    """Return how much of the earlier accuracies is lost at one place of the order."""
    names = list(steps[-1])[:place]
    lost = [steps[number][data] - steps[place][data] for number, data in enumerate(names)]
    return fmean(lost) if lost else None


def _draw(title: str, learned: Mapping[tuple[str, str], Steps]) -> Figure:
    """Draw a panel for each of LF's orders, with SNOW's accuracies as dashes."""
    figure = new_figure(10.0, 3.6)
    panels = figure.subplots(1, 2, sharey=True)
    orders = {order: steps for (scheme, order), steps in learned.items() if scheme == "lf"}
    snow = learned["snow", "any"][-1]
    for axes, (order, steps) in zip(panels, orders.items(), strict=True):
        names = list(steps[-1])
        for number, data in enumerate(names):
            places = range(number, len(names))
            values = [steps[place][data] for place in places]
            colour = COLOURS[sorted(names).index(data) % len(COLOURS)]
            axes.plot(places, values, "o-", color=colour, label=f"{data}, lf", ms=4, lw=1.4)
            flat = [snow[data]] * len(places)
            axes.plot(places, flat, "--", color=colour, label=f"{data}, snow", lw=1.0)
        axes.set_xticks(range(len(names)), [f"after {data}" for data in names])
        axes.set(title=f"order {order}")
        tidy(axes)
    panels[0].set_ylabel("test accuracy")
    panels[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(title, fontsize=10)
    return figure
