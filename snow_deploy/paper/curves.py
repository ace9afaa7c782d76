"""Accuracy on the evaluation split over a run's epochs, as the run left it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from snow_deploy.errors import TrainingError

if TYPE_CHECKING:
    from snow_deploy.training.store import Store

Curve = list[tuple[float, float]]
"""Epoch and accuracy, 0 to 1."""


def read_accuracy_curve(store: Store, name: str) -> Curve:
    """Read the curve of a run.

    Raises:
        TrainingError: The run left none behind, or it is damaged.
    """
    path = store.run_path(name) / "curve.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        key = next(key for key in rows[0] if key.endswith("_accuracy"))
        return [(float(row["epoch"]), float(row[key])) for row in rows]
    except (OSError, ValueError, IndexError, StopIteration) as error:
        msg = (
            f"{path} cannot be read ({error!r}). It is written while a run trains: train the run "
            f"anew, after removing {store.task_path(name)}."
        )
        raise TrainingError(msg) from error


def converged_at(curve: Curve, within: float = 0.01) -> float:
    """Return the epoch from which on the accuracy stays within so much of the last one's."""
    last = curve[-1][1]
    apart = [place for place, (_, value) in enumerate(curve) if abs(value - last) > within]
    return curve[apart[-1] + 1 if apart else 0][0]
