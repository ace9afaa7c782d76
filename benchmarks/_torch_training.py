"""Training in torch: a SNOW step against full fine-tuning and against a linear classifier."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks._clock import alternate
from benchmarks._scenario import FeatureClassifier
from benchmarks._torch_serving import elapsed_ms
from snow_deploy.allocator import give_back_freed_memory
from snow_deploy.models.anatomy import HEAD
from snow_deploy.models.source import Source
from snow_runtime.bench.process_memory import read_process_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks._scenario import Fleet

CONTENDERS = ("snow", "fine_tuning", "linear_classifier")
_WARM_UP = 3


@dataclass(frozen=True)
class TrainingSetup:
    """How the steps are measured.

    Attributes:
        device: Where.
        dtype: Of autocast; float32 turns it off.
        image_size: In pixels.
        classes: Of the task.
        steps: Timed together in one visit.
        rounds: Visits to each contender.
        smallest_batch: Below it nothing is tried.
        cpu_time: On a CPU, count the processor's time instead of the clock's.
    """

    device: torch.device
    dtype: torch.dtype
    image_size: int
    classes: int
    steps: int = 10
    rounds: int = 3
    smallest_batch: int = 8
    cpu_time: bool = False


def measure_training(
    fleet: Fleet, setup: TrainingSetup, batch_sizes: Sequence[int]
) -> list[dict[str, Any]]:
    """Time a step of every contender at each batch size; where none fits, halve the last.

    Returns:
        One row a batch size: `images_per_s` and `peak_bytes` (null on a CPU) by contender,
        `snow_over_fine_tuning` and `snow_over_linear` (of images per second); or `does_not_fit`
        with the contender's name.
    """
    rows = []
    fitted = False
    pending = list(batch_sizes)
    while pending:
        batch = pending.pop(0)
        try:
            rows.append(_measure(fleet, setup, batch))
            fitted = True
        except _DoesNotFitError as error:
            rows.append({"batch": batch, "does_not_fit": str(error)})
            if not pending and not fitted and batch // 2 >= setup.smallest_batch:
                pending = [batch // 2]
    return rows


class _DoesNotFitError(Exception):
    """A contender's step needs more memory than the device has; the text is its name."""


def _measure(fleet: Fleet, setup: TrainingSetup, batch: int) -> dict[str, Any]:
    peaks: dict[str, int | None] = dict.fromkeys(CONTENDERS)

    def visit(name: str) -> float:
        """Build a contender alone on the device, so that the peak is its own."""
        _clear(setup.device)
        try:
            time_ms, peaks[name] = _step_ms(fleet, setup, name, batch)
        except torch.OutOfMemoryError:
            raise _DoesNotFitError(name) from None
        return time_ms

    visits = {name: (lambda name=name: visit(name)) for name in CONTENDERS}
    times = alternate(visits, setup.rounds)
    speeds = {name: 1e3 * batch / time_ms for name, time_ms in times.items()}
    return {
        "batch": batch,
        "images_per_s": speeds,
        "peak_bytes": peaks,
        "snow_over_fine_tuning": speeds["snow"] / speeds["fine_tuning"],
        "snow_over_linear": speeds["snow"] / speeds["linear_classifier"],
    }


def training_peak_bytes(fleet: Fleet, setup: TrainingSetup, name: str, batch: int) -> int:
    """Return what a contender's steps need beyond what is there before them, on a Linux CPU.

    Networks and pictures are there before; momentum, gradients, activations and features are not.
    """
    step = _step(fleet, setup, name, batch)
    gc.collect()
    give_back_freed_memory()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = read_process_memory().now_bytes
    for _ in range(_WARM_UP):
        step()
    after = read_process_memory().peak_bytes
    if before is None or after is None:
        msg = "the system does not tell how much memory a process holds"
        raise RuntimeError(msg)
    return after - before


def _step_ms(fleet: Fleet, setup: TrainingSetup, name: str, batch: int) -> tuple[float, int | None]:
    """Return the milliseconds of a training step and the peak of the device's memory."""
    device, cuda = setup.device, setup.device.type == "cuda"
    step = _step(fleet, setup, name, batch)
    for _ in range(_WARM_UP if cuda else 1):
        step()
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        time_ms = elapsed_ms(step, setup.steps, cuda=True)
        return time_ms, torch.cuda.max_memory_allocated(device)
    if not setup.cpu_time:
        return elapsed_ms(step, setup.steps, cuda=False), None
    started = time.process_time()
    for _ in range(setup.steps):
        step()
    return 1e3 * (time.process_time() - started) / setup.steps, None


def _step(fleet: Fleet, setup: TrainingSetup, name: str, batch: int) -> Callable[[], None]:
    """Build a contender and return one optimiser step of it."""
    device, size = setup.device, setup.image_size
    images = torch.randn(batch, 3, size, size, device=device)
    images = images.to(memory_format=torch.channels_last)
    targets = torch.randint(setup.classes, (batch,), device=device)
    answer, trained = _contender(fleet, name, setup, batch)
    optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, setup.dtype, enabled=setup.dtype != torch.float32):
            loss = nn.functional.cross_entropy(answer(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _contender(
    fleet: Fleet, name: str, setup: TrainingSetup, batch: int
) -> tuple[Callable[[Tensor], Tensor], list[nn.Parameter]]:
    """Build a contender on the device: its forward pass in training mode, and what it trains."""
    network: nn.Module
    if name == "fine_tuning":
        network = fleet.source_weights.build()
        network = network.to(setup.device).to(memory_format=torch.channels_last).train()
        return network, list(network.parameters())
    source = Source(fleet.source_weights).to(setup.device)
    source.pack(batch, setup.image_size, setup.dtype)
    if name == "snow":
        network = fleet.delta(setup.classes)
    else:
        network = FeatureClassifier(source.anatomy.head_channels, setup.classes)
    network = network.to(setup.device).train()
    reads = network.reads if name == "snow" else (HEAD,)

    def answer(images: Tensor) -> Tensor:
        logits: Tensor = network(images, source.stream(images, reads))
        return logits

    return answer, list(network.parameters())


def _clear(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
