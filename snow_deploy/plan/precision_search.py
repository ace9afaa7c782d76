"""The search in one precision: which variants have an accuracy in it, and which times are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snow_deploy.plan.form_costs import form_of
from snow_deploy.plan.search import Option, Space, find_frontier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.plan.accuracy import Accuracy
    from snow_deploy.plan.device_model import DeviceModel, PredictedTime
    from snow_deploy.plan.form_costs import FormCosts
    from snow_deploy.plan.measured import MeasuredGraph
    from snow_deploy.plan.search import Choice, Point
    from snow_deploy.plan.variants import PlannedTask
    from snow_export.inspect.launches import Workload
    from snow_runtime.graph.manifest import Precision


@dataclass
class Times:
    """What is known of times, whatever the precision; choices count all variants of a task.

    Attributes:
        model: The device's model; None without a device.
        costs: The forms' costs; None likewise.
        batch: Pictures of a run.
        counted: Workloads of combinations that were counted in graphs of their own.
    """

    model: DeviceModel | None
    costs: FormCosts | None
    batch: int
    counted: dict[Choice, Workload] = field(default_factory=dict)


class PrecisionSearch:
    """Finds the frontier of one precision.

    Args:
        precision: The precision.
        tasks: The tasks.
        accuracies: The accuracy of each task's variants; None where there is none in it.
        times: What is known of times.
        measured: Measurements that cover combinations.
    """

    def __init__(
        self,
        precision: Precision,
        tasks: Sequence[PlannedTask],
        accuracies: Sequence[Sequence[Accuracy | None]],
        times: Times,
        measured: dict[Choice, MeasuredGraph],
    ) -> None:
        self.precision = precision
        self.measured = measured
        self._times = times
        self._tasks = tasks
        self.accuracies = accuracies
        self._numbers = [
            [number for number, accuracy in enumerate(row) if accuracy is not None]
            for row in accuracies
        ]
        model = times.model
        self._predicts = model is not None and precision in model.device.tera_ops
        self._space = self._make_space()

    def frontier(self) -> list[Point]:
        """Return what nothing beats; choices count all variants of a task."""
        if not all(self._numbers):
            return []
        known = {choice: graph.ms for choice, graph in self.measured.items() if self.has(choice)}
        if self._predicts:
            for choice, workload in self._times.counted.items():
                if self.has(choice):
                    known.setdefault(choice, self.predict(workload).ms)
        local = {self._local(choice): ms for choice, ms in known.items()}
        found = find_frontier(self._space, local, only_known=not self._predicts)
        return [type(point)(point.ms, point.accuracy, self._whole(point.choice)) for point in found]

    def is_composed(self, choice: Choice) -> bool:
        """Tell whether a combination's time is composed: neither measured nor counted by itself."""
        return choice not in self.measured and choice not in self._times.counted

    def note(self, choice: Choice, workload: Workload) -> None:
        """Note what a graph of a combination has to do, for all precisions."""
        self._times.counted[choice] = workload

    def has(self, choice: Choice) -> bool:
        """Tell whether all variants of a combination have an accuracy in this precision."""
        return all(number in own for number, own in zip(choice, self._numbers, strict=True))

    def predict(self, workload: Workload) -> PredictedTime:
        """Predict a run of a workload."""
        model = self._times.model
        if model is None:
            msg = "there is no device to predict for"
            raise ValueError(msg)
        return model.predict(workload, self.precision, self._times.batch)

    def workload(self, choice: Choice) -> tuple[Workload, bool] | None:
        """Return what a run has to do, and whether that was counted in a graph of its own."""
        if not self._predicts:
            return None
        if choice in self._times.counted:
            return self._times.counted[choice], True
        taken = [task.variants[it] for task, it in zip(self._tasks, choice, strict=True)]
        return self._costs.compose([form_of(variant) for variant in taken]), False

    @property
    def _costs(self) -> FormCosts:
        if self._times.costs is None:
            msg = "no forms were counted"
            raise ValueError(msg)
        return self._times.costs

    def _make_space(self) -> Space:
        values = [
            [accuracy.value for accuracy in row if accuracy is not None] for row in self.accuracies
        ]
        if not self._predicts:
            return Space(0.0, {}, tuple(tuple(Option(it, 0.0) for it in row) for row in values))
        forms = [
            [form_of(task.variants[number]) for number in own]
            for task, own in zip(self._tasks, self._numbers, strict=True)
        ]
        return self._costs.space(forms, values, lambda it: self.predict(it).ms)

    def _local(self, choice: Choice) -> Choice:
        return tuple(own.index(number) for own, number in zip(self._numbers, choice, strict=True))

    def _whole(self, choice: Choice) -> Choice:
        return tuple(own[number] for own, number in zip(self._numbers, choice, strict=True))
