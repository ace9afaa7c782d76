"""One combination of variants, with its accuracy and its time."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.plan.accuracy import Accuracy
    from snow_deploy.plan.device_model import PredictedTime
    from snow_deploy.plan.measured import MeasuredGraph
    from snow_export.inspect.launches import Workload
    from snow_runtime.graph.manifest import Precision


@dataclass(frozen=True)
class Combination:
    """One variant of every task, in one graph.

    Attributes:
        precision: The graph's precision.
        variants: Name of the variant by task.
        accuracies: Its accuracy in that precision, by task.
        predicted: Predicted time; None without a device.
        workload: What a run has to do; None without a device.
        counted: Whether the workload was counted in a graph of this combination, not composed of
            its parts'.
        measured: The measurement that covers it; None where none does.
    """

    precision: Precision
    variants: Mapping[str, str]
    accuracies: Mapping[str, Accuracy]
    predicted: PredictedTime | None
    workload: Workload | None
    counted: bool
    measured: MeasuredGraph | None

    @property
    def ms(self) -> float:
        """The time that a plan goes by: the measured one, else the predicted."""
        if self.measured is not None:
            return self.measured.ms
        return math.inf if self.predicted is None else self.predicted.ms

    @property
    def said(self) -> str:
        """Which of the two that is."""
        return "predicted" if self.measured is None else "measured"

    @property
    def total(self) -> float:
        """The accuracies' sum."""
        return sum(each.value for each in self.accuracies.values())

    @property
    def mean(self) -> float:
        """The mean accuracy of the tasks."""
        return self.total / len(self.accuracies)

    @property
    def error(self) -> float | None:
        """Standard error of the sum, as if every task had pictures of its own; None if unknown."""
        errors = [each.error for each in self.accuracies.values()]
        known = [error for error in errors if error is not None]
        return math.hypot(*known) if len(known) == len(errors) else None

    @property
    def mean_error(self) -> float | None:
        """Standard error of the mean."""
        return None if self.error is None else self.error / len(self.accuracies)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        predicted, measured = self.predicted, self.measured
        return {
            "precision": self.precision,
            "tasks": {
                task: {"variant": name, "accuracy": self.accuracies[task].to_dict()}
                for task, name in self.variants.items()
            },
            "total_accuracy": self.total,
            "total_standard_error": self.error,
            "mean_accuracy": self.mean,
            "mean_standard_error": self.mean_error,
            "predicted_ms": None if predicted is None else predicted.ms,
            "predicted_parts_ms": None if predicted is None else asdict(predicted),
            "measured_ms": None if measured is None else measured.ms,
            "measured_by": None
            if measured is None
            else {"file": measured.path, "graph": measured.name, "machine": measured.machine},
            "workload": None if self.workload is None else asdict(self.workload),
            "workload_counted": self.counted,
        }
