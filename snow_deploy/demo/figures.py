"""The report's figures: curves, and the channels each task subscribed to (Figure 5)."""

from __future__ import annotations

import base64
import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from snow_deploy.training.reliability_plot import draw_reliability

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from PIL import Image

    from snow_runtime.confidence.reliability import Reliability

COLOURS = ("#0b6e99", "#c2570c", "#3f7d20")


def curves(rows: Mapping[str, Sequence[Mapping[str, float]]], linear: Mapping[str, float]) -> str:
    """Draw accuracy over epochs by task, the linear classifier dashed; return a data URI."""
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for colour, (task, points) in zip(COLOURS, rows.items(), strict=False):
        epochs = [point["epoch"] for point in points]
        axes.plot(
            epochs, [p["test_accuracy"] for p in points], "o-", color=colour, label=f"{task}, SNOW"
        )
        axes.axhline(linear[task], color=colour, ls="--", lw=1, label=f"{task}, linear classifier")
    axes.set(xlabel="epoch", ylabel="test accuracy", ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, ncols=len(rows), loc="upper center", bbox_to_anchor=(0.5, -0.18))
    return _data_uri(figure)


def reliability(found: Mapping[str, Mapping[str, Reliability]]) -> str:
    """Draw each task's share of right answers over their probability; return a data URI.

    Args:
        found: Reliabilities by task, each with and without the task's temperature.
    """
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for panel, (task, each) in zip(panels, found.items(), strict=True):
        draw_reliability(panel, each, legend=False)
        panel.set_title(task, fontsize=10, loc="left")
        panel.label_outer()
    lines = panels[0].get_legend_handles_labels()
    figure.legend(*lines, fontsize=8, ncols=2, loc="outside lower center")
    return _data_uri(figure)


def selections(histories: Mapping[str, Mapping[str, NDArray[Any]]], name: str, n: int) -> str:
    """Draw which of a subscription's N channels each task chose over training.

    Args:
        histories: The table by task: what `selections.npz` holds.
        name: The subscription.
        n: Its source channels, N.

    Returns:
        A data URI of one panel per task: channels across, training downwards.
    """
    figure = Figure(figsize=(7.2, 1.9 * len(histories)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(histories), 1, sharex=True))
    for panel, colour, (task, history) in zip(panels, COLOURS, histories.items(), strict=False):
        _selection_panel(panel, history["epoch"], history[name], n, colour)
        panel.set_title(task, fontsize=10, loc="left")
    panels[-1].set_xlabel(f"source channel of {name}, 0 to {n - 1}")
    return _data_uri(figure)


def _selection_panel(
    panel: Axes, moments: NDArray[np.float64], chosen: NDArray[np.int32], n: int, colour: str
) -> None:
    grid = np.zeros((len(moments), n))
    np.put_along_axis(grid, chosen.astype(np.int64), 1.0, axis=1)
    panel.imshow(
        grid,
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(["#f2f2ef", colour]),
        extent=(-0.5, n - 0.5, float(moments[-1]), float(moments[0])),
    )
    panel.set_ylabel("epoch")


def read_curve(path: Path) -> list[dict[str, float]]:
    """Read a run's curve.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def picture_uri(picture: Image.Image) -> str:
    """Return a picture as a PNG data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _data_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=160)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
