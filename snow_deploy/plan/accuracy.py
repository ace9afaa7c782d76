"""How accurate a variant is, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from snow_deploy.errors import PlanError
from snow_runtime.paired_tests import most_frequent

if TYPE_CHECKING:
    from snow_deploy.training.task_record import TaskRecord
    from snow_runtime.graph.data_entry import SplitEntry

Basis = Literal["held-out", "cross-validated"]
"""What a plan goes by: test data (validation data where there is none), or cross-validation."""
AccuracyKind = Literal["test", "validation", "cross-validated"]
"""How one accuracy was measured."""

_SIGMAS: Final = 1.96  # standard errors to either side of an interval of 95 %
_TAIL: Final = 0.025


@dataclass(frozen=True)
class Accuracy:
    """One measured accuracy, 0 to 1.

    Of a task of several labels a picture it is the share of pictures with every label right.

    Attributes:
        value: The accuracy.
        error: Its standard error, of all or none right with two pictures more of either kind; None
            where it is not known on how many pictures it rests.
        low: Lower end of an interval of 95 %; None likewise.
        high: Upper end of it.
        pictures: Number of pictures that it rests on; None likewise.
        kind: Its kind.
    """

    value: float
    error: float | None
    low: float | None
    high: float | None
    pictures: int | None
    kind: AccuracyKind

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "value": self.value,
            "standard_error": self.error,
            "low": self.low,
            "high": self.high,
            "pictures": self.pictures,
            "kind": self.kind,
        }


def counted(value: float, pictures: int | None, kind: AccuracyKind = "test") -> Accuracy:
    """Return the accuracy of so many pictures, with the interval of Clopper and Pearson."""
    if pictures is None:
        return Accuracy(value, None, None, None, None, kind)
    right = round(value * pictures)
    low = 1 - most_frequent(pictures - right, pictures, _TAIL)
    high = most_frequent(right, pictures, _TAIL)
    share, of = (
        (value, pictures) if 0 < right < pictures else ((right + 2) / (pictures + 4), pictures + 4)
    )
    error = math.sqrt(share * (1 - share) / of)  # none of none wrong would be sure
    return Accuracy(value, error, low, high, pictures, kind)


def estimated(value: float, error: float, pictures: int | None, kind: AccuracyKind) -> Accuracy:
    """Return an accuracy whose standard error is known, with the normal interval."""
    low, high = (min(1.0, max(0.0, value + sign * _SIGMAS * error)) for sign in (-1, 1))
    return Accuracy(value, error, low, high, pictures, kind)


def measured_split(record: TaskRecord) -> SplitEntry | None:
    """Return the split that a task was measured on; None where it was not noted."""
    return record.splits.get("test", record.splits.get("val"))


def stored_accuracies(record: TaskRecord) -> dict[Basis, Accuracy]:
    """Return what a task's file says of its accuracy, by what it rests on.

    Raises:
        PlanError: It says nothing.
    """
    several = record.answers == "several"
    key = "exact_match" if several else "accuracy"
    found: dict[Basis, Accuracy] = {}
    if key in record.metrics:
        split = measured_split(record)
        pictures = None if split is None else split.pictures
        kind: AccuracyKind = "validation" if split and "test" not in record.splits else "test"
        found["held-out"] = counted(_share(record, key), pictures, kind)
    if "cross_validated_accuracy" in record.metrics and not several:
        value = _share(record, "cross_validated_accuracy")
        error = record.metrics.get("cross_validated_error", math.nan)
        count = record.metrics.get("fit_pictures")
        pictures = None if count is None else int(count)
        found["cross-validated"] = (
            estimated(value, error, pictures, "cross-validated")
            if math.isfinite(error)
            else counted(value, None, "cross-validated")
        )
    if not found:
        msg = (
            f"the task {record.name!r} has no accuracy on file (its metrics: "
            f"{', '.join(record.metrics) or 'none'}). Train it again with this version, which "
            "measures it, or leave it out of --task."
        )
        raise PlanError(msg)
    return found


def _share(record: TaskRecord, key: str) -> float:
    value = record.metrics[key]
    if not 0 <= value <= 1:  # nor is NaN
        msg = (
            f"the task {record.name!r} has {key} {value} on file, expected a share from 0 to 1. "
            "Train it again, or leave it out of --task."
        )
        raise PlanError(msg)
    return value
