"""How long a device is predicted to take: launches, bytes and arithmetic, one after the other.

    time = layers x cycles / clock + bytes / bandwidth + operations / throughput

Bandwidth and throughput are the data sheet's. The cycles that a layer costs whatever it computes
are fitted, one number for each generation of GPUs, to the published times: the least sum of squared
relative errors. A model this small is held against every figure, and says how far off it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snow_deploy.errors import PlanError
from snow_deploy.plan.device import DEVICES
from snow_deploy.plan.published import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snow_deploy.plan.device import Device
    from snow_deploy.plan.published import PublishedTime
    from snow_export.inspect.launches import Workload
    from snow_runtime.graph.manifest import Precision

_BYTES: Final[dict[Precision, int]] = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class PredictedTime:
    """What a run is predicted to take, in milliseconds.

    Attributes:
        launch_ms: Time for launching layers.
        memory_ms: Time for moving weights and values.
        arithmetic_ms: Time for multiplying and adding.
    """

    launch_ms: float
    memory_ms: float
    arithmetic_ms: float

    @property
    def ms(self) -> float:
        """The sum."""
        return self.launch_ms + self.memory_ms + self.arithmetic_ms


@dataclass(frozen=True)
class ModelError:
    """The model against one published figure; errors are shares of the published time.

    Attributes:
        figure: The figure.
        predicted_ms: What the model says.
        error: Its error; 0.1 is a tenth too long.
        left_out_error: The same of a model that has seen no figure of this device; None where the
            generation has no other.
    """

    figure: PublishedTime
    predicted_ms: float
    error: float
    left_out_error: float | None


class DeviceModel:
    """Predicts times of one device. The prediction is linear in the workload.

    Args:
        device: The device.
        figures: Published times that the cycles of a layer are fitted to.

    Raises:
        PlanError: No figure is of its generation.
    """

    def __init__(self, device: Device, figures: Iterable[PublishedTime] = PUBLISHED) -> None:
        self.device = device
        alike = [it for it in figures if DEVICES[it.device].generation == device.generation]
        self.cycles_per_layer = fit_cycles(alike)

    def check_precision(self, precision: Precision) -> None:
        """Refuse a precision that the device does not compute in.

        Raises:
            PlanError: It is one.
        """
        if precision not in self.device.tera_ops:
            known = ", ".join(self.device.tera_ops)
            msg = (
                f"the {self.device.title} computes in {known}, and {precision} was asked for. Plan "
                "for one of those."
            )
            raise PlanError(msg)

    def predict(self, workload: Workload, precision: Precision, batch: int = 1) -> PredictedTime:
        """Predict a run.

        Args:
            workload: What it has to do.
            precision: Precision that it computes in; INT8 is taken to have the layers of fp16.
            batch: Pictures of the run.

        Raises:
            PlanError: The device does not compute in that precision.
        """
        self.check_precision(precision)
        launch_ms = workload.layers * self.cycles_per_layer / (self.device.clock_ghz * 1e6)
        memory_ms, arithmetic_ms = _known_ms(self.device, workload, precision, batch)
        return PredictedTime(launch_ms, memory_ms, arithmetic_ms)


def fit_cycles(figures: Sequence[PublishedTime]) -> float:
    """Return the cycles of a layer that make the sum of squared relative errors least.

    With x a figure's layers / clock and r what bandwidth and throughput leave of it, both over the
    published time, that is the sum of x r over the sum of x x; 0 where that is negative.

    Raises:
        PlanError: There are no figures.
    """
    if not figures:
        msg = "there is no published time of this generation of GPUs to fit a model to"
        raise PlanError(msg)
    products = squares = 0.0
    for figure in figures:
        device = DEVICES[figure.device]
        known_ms = sum(_known_ms(device, figure.workload, figure.precision, figure.batch))
        per_cycle = figure.workload.layers / (device.clock_ghz * 1e6) / figure.ms
        products += per_cycle * (1 - known_ms / figure.ms)
        squares += per_cycle * per_cycle
    return max(0.0, products / squares)


def model_errors(figures: Sequence[PublishedTime] = PUBLISHED) -> tuple[ModelError, ...]:
    """Hold the model against every published figure, also as fitted without that device."""
    found = []
    for figure in figures:
        device = DEVICES[figure.device]
        others = [it for it in figures if it.device != figure.device]
        alone = not any(DEVICES[it.device].generation == device.generation for it in others)
        predicted_ms = _predict(DeviceModel(device, figures), figure)
        unseen = None if alone else _predict(DeviceModel(device, others), figure)
        found.append(
            ModelError(
                figure,
                predicted_ms,
                predicted_ms / figure.ms - 1,
                None if unseen is None else unseen / figure.ms - 1,
            )
        )
    return tuple(found)


def _predict(model: DeviceModel, figure: PublishedTime) -> float:
    return model.predict(figure.workload, figure.precision, figure.batch).ms


def _known_ms(
    device: Device, workload: Workload, precision: Precision, batch: int
) -> tuple[float, float]:
    """Return the milliseconds of bytes and of arithmetic by the data sheet alone."""
    moved = (workload.weights + batch * workload.values) * _BYTES[precision]
    operations = 2 * batch * workload.macs
    return (
        moved / (device.memory_gb_s * 1e6),
        operations / (device.tera_ops[precision] * 1e9),
    )
