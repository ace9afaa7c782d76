"""Speed and peak memory of training steps, in turns."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from snow_deploy.errors import TrainingError
from snow_deploy.paper.measure.peak_memory import peak_bytes
from snow_deploy.paper.measure.step import WARM_UP, StepSetup, TrainingStep
from snow_deploy.paper.measure.turns import elapsed_ms, least_in_turns
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.study import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SMALLEST_BATCH = 8


@dataclass(frozen=True)
class Effort:
    """How thoroughly steps are measured.

    Attributes:
        steps: Timed together in one visit.
        rounds: Number of visits to each contender.
    """

    steps: int = 10
    rounds: int = 3


@dataclass(frozen=True)
class StepFigures:
    """What training costs.

    Attributes:
        batch: Pictures a step.
        images_per_s: Pictures a second; the loading of pictures is no part of it.
        peak_bytes: The most memory that tensors have at once: networks, and what steps add.
    """

    batch: int
    images_per_s: float
    peak_bytes: int


def measure_steps(
    setups: Mapping[str, StepSetup],
    kept: MeasurementCache,
    effort: Effort,
    say: Callable[[str], None],
    *,
    alike: bool = False,
) -> dict[str, StepFigures]:
    """Time steps of every contender in alternating rounds, and take their peak memory.

    On a GPU a batch that doesn't fit is halved until it does. Times are kept for these contenders
    together: beside others they are taken anew, as what they were taken beside may have changed.

    Args:
        setups: The contenders.
        kept: What is measured already.
        effort: How thoroughly.
        say: Callback that gets what is done, as a line.
        alike: Measure all at one batch: the largest that fits every one of them.

    Raises:
        TrainingError: Not even a small batch fits, or memory could not be measured.
    """
    device = default_device()
    fitting, peaks = _fit_all(setups, kept, say, device)
    while alike and len({setup.options.batch_size for setup in fitting.values()}) > 1:
        least = min(setup.options.batch_size for setup in fitting.values())
        same = {name: _at_batch(setup, least) for name, setup in fitting.items()}
        fitting, peaks = _fit_all(same, kept, say, device)

    together = digest({name: setup.to_dict() for name, setup in fitting.items()})

    def visit(name: str, number: int) -> float:
        setup = fitting[name]
        say(f"training step, round {number + 1} of {effort.rounds}: {name}")
        facts = {
            **_facts(setup, device),
            "steps": effort.steps,
            "round": number,
            "together": together,
        }
        value = kept.get("step", facts, lambda: {"ms": _time(setup, device, effort.steps)})
        ms: float = value["ms"]
        return ms

    times = least_in_turns(visit, fitting, effort.rounds)
    return {
        name: StepFigures(
            setup.options.batch_size, 1e3 * setup.options.batch_size / times[name], peaks[name]
        )
        for name, setup in fitting.items()
    }


def _fit_all(
    setups: Mapping[str, StepSetup],
    kept: MeasurementCache,
    say: Callable[[str], None],
    device: torch.device,
) -> tuple[dict[str, StepSetup], dict[str, int]]:
    """Return the contenders at batches that fit, and the peaks of their steps."""
    fitting, peaks = {}, {}
    for name, setup in setups.items():
        say(f"peak memory of a training step: {name}, batch {setup.options.batch_size}")
        value = kept.get("tensors", _facts(setup, device), partial(_fit, setup, device))
        fitting[name], peaks[name] = _at_batch(setup, value["batch"]), value["peak_bytes"]
    return fitting, peaks


def _at_batch(setup: StepSetup, batch: int) -> StepSetup:
    return replace(setup, options=replace(setup.options, batch_size=batch))


def _facts(setup: StepSetup, device: torch.device) -> dict[str, Any]:
    return {**setup.to_dict(), **describe_device(device)}


def _fit(setup: StepSetup, device: torch.device) -> dict[str, Any]:
    """Return the largest batch that fits, and the peak of its steps."""
    batch = setup.options.batch_size
    if device.type != "cuda":
        return {"batch": batch, "peak_bytes": peak_bytes(setup)}
    while True:
        try:
            return {"batch": batch, "peak_bytes": _cuda_peak(_at_batch(setup, batch), device)}
        except torch.OutOfMemoryError:
            batch //= 2
        if batch < _SMALLEST_BATCH:
            msg = (
                f"a training step of {setup.options.scheme} doesn't fit the GPU's memory, not even "
                f"at a batch of {2 * batch}. Give a smaller --image-size, or leave it out of "
                "--schemes."
            )
            raise TrainingError(msg)


def _cuda_peak(setup: StepSetup, device: torch.device) -> int:
    _clear(device)
    step = TrainingStep(setup, device)
    torch.cuda.reset_peak_memory_stats(device)
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def _time(setup: StepSetup, device: torch.device, steps: int) -> float:
    """Build a contender alone on the device; return milliseconds a step, after a warm-up."""
    _clear(device)
    step = TrainingStep(setup, device)
    for _ in range(WARM_UP):
        step()
    return elapsed_ms(step, steps, device)


def _clear(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
