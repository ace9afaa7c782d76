"""A run's reliability diagram: shares of right answers over the probabilities that were said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from snow_deploy.errors import StoreError
from snow_deploy.training.reliability_file import is_new, read_reliability
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from snow_runtime.confidence.reliability import Reliability

FILE: Final = "reliability.png"
_STYLES: Final = {"plain": ("0.6", "without temperature"), "calibrated": ("C0", "as answered")}


def draw_new_reliability(folder: Path) -> Path | None:
    """Draw what this process has left in a run's folder, beside it; return the picture's path.

    Returns:
        None where this process has measured nothing there.

    Raises:
        StoreError: It cannot be written.
    """
    if not is_new(folder):
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4))
    FigureCanvasAgg(figure)
    draw_reliability(figure.subplots(), read_reliability(folder))
    path = folder / FILE
    with (
        writing(path, StoreError, "Free space or access; the task is stored."),
        atomic_write(path) as file,
    ):
        figure.savefig(file, format="png", dpi=110)
    return path


def draw_reliability(axes: Any, found: Mapping[str, Reliability], *, legend: bool = True) -> None:
    """Draw reliabilities into axes of matplotlib, the diagonal beside them.

    Args:
        axes: The axes.
        found: What to draw, by `plain` or `calibrated`.
        legend: Whether the axes say which is which, with their calibration errors; without, the
            lines have labels for one legend of several axes.
    """
    axes.plot([0, 1], [0, 1], color="0.8", lw=1)
    for name, each in found.items():
        colour, title = _STYLES[name]
        axes.plot(
            [it.confidence for it in each.bins],
            [it.accuracy for it in each.bins],
            "o-",
            ms=4,
            color=colour,
            label=f"{title}: error {each.calibration_error:.3f}" if legend else title,
        )
    axes.set(xlabel="probability", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    if legend:
        axes.legend(fontsize=8, loc="upper left")
