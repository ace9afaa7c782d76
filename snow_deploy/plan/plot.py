"""The plot of a plan: the frontier of accuracy against time, with error bars and the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snow_deploy.errors import PlanError
from snow_deploy.plan.measured import machines_of
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snow_deploy.plan.combination import Combination
    from snow_deploy.plan.plan import Plan

FORMATS: Final = ("svg", "png", "pdf")
_SIGMAS: Final = 1.96
_MARKERS: Final = {"fp32": "D", "fp16": "o", "int8": "s"}


def check_plot_path(path: Path) -> None:
    """Refuse a name by which no kind of picture is known, before anything is counted.

    Raises:
        PlanError: It is one.
    """
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        kinds = ", ".join(f".{each}" for each in FORMATS)
        msg = f"{path} says no kind of picture, expected a name that ends in one of {kinds}."
        raise PlanError(msg)


def write_plot(plan: Plan, path: Path) -> None:
    """Draw a plan into a file; its name says which kind.

    Raises:
        PlanError: The name says no kind, or the file cannot be written.
    """
    check_plot_path(path)
    figure = draw_plan(plan)
    with writing(path, PlanError, "Choose another -o, or free space."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            figure.savefig(file, format=path.suffix.lower().removeprefix("."), dpi=130)


def draw_plan(plan: Plan) -> Figure:
    """Draw the frontier: hollow marks are predicted, filled ones measured."""
    from snow_deploy.paper.plots import OURS, PAPERS, new_figure, tidy

    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    times = [each.ms for each in plan.frontier]
    means = [each.mean for each in plan.frontier]
    axes.step(times, means, where="post", color=PAPERS, lw=1, zorder=1)
    for each in plan.frontier:
        _mark(axes, each, OURS)
    if plan.request.budget.ms is not None:
        axes.axvline(plan.request.budget.ms, color="0.5", lw=1, ls=":")
    if plan.best is not None:
        axes.plot([plan.best.ms], [plan.best.mean], "o", ms=15, mfc="none", mec="#c2570c")
    said = sorted({each.said for each in plan.frontier}, reverse=True)
    pictures = plan.request.budget.cameras
    run = "a picture" if pictures == 1 else f"a run of {pictures} pictures"
    axes.set_xlabel(f"{' or '.join(said)} time of {run}, ms{_where(plan)}")
    axes.set_ylabel(f"mean accuracy of {len(plan.candidates.tasks)} tasks")
    axes.set_title(_legend(plan), fontsize=8)
    tidy(axes)
    return figure


def _where(plan: Plan) -> str:
    """Say of which machines the times are."""
    device = plan.request.device
    measured = machines_of(each.measured for each in plan.frontier if each.measured is not None)
    predicted = any(each.measured is None for each in plan.frontier)
    places = [device.title] if device is not None and predicted else []
    if measured:
        places.append(f"measured on {', '.join(measured)}")
    return "".join(f", {each}" for each in places)


def _mark(axes: Axes, each: Combination, colour: str) -> None:
    spread = None if each.mean_error is None else _SIGMAS * each.mean_error
    axes.errorbar(
        [each.ms],
        [each.mean],
        yerr=spread,
        fmt=_MARKERS[each.precision],
        color=colour,
        mfc=colour if each.said == "measured" else "white",
        capsize=3,
    )


def _legend(plan: Plan) -> str:
    shapes = {"fp32": "diamond", "fp16": "circle", "int8": "square"}
    precisions = dict.fromkeys(each.precision for each in plan.frontier)
    parts = [f"{shapes[each]}: {each}" for each in precisions]
    parts += ["hollow: predicted", "filled: measured", "bars: 95 % of the accuracy"]
    if plan.request.budget.ms is not None:
        parts += ["dotted: the budget", "ring: the best within it"]
    return ", ".join(parts)
