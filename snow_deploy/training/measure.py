"""The final measurement of a network on labelled pictures."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from snow_deploy.data.loading import make_loader
from snow_deploy.errors import DataError
from snow_runtime.errors import InputError
from snow_runtime.pictures.preprocessing import resize_and_crop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snow_deploy.data.pictures import Pictures
    from snow_runtime.graph.manifest import Preprocessing

SAMPLES = 5
"""Held-out pictures that travel with a task; not the batch that a graph is traced with."""


def measure(
    network: nn.Module, pictures: Pictures, preprocessing: Preprocessing, *, workers: int = 2
) -> tuple[float, float, set[str]]:
    """Return mean cross-entropy, accuracy (0 to 1) and the names of unreadable pictures.

    Args:
        network: [B, 3, S, S] float32 in, [B, classes] logits out; put into eval mode.
        pictures: What to measure on; each once, without augmentation.
        preprocessing: Preprocessing, as on the device.
        workers: Processes that load pictures.

    Raises:
        DataError: No picture could be read.
    """
    network.eval()
    device = next(network.parameters()).device

    def answer(images: Tensor) -> list[Tensor]:
        return [network(images.to(device))]

    ((loss, accuracy),), unreadable = measure_together(
        answer, [pictures], preprocessing, workers=workers
    )
    return loss, accuracy, unreadable


@torch.no_grad()
def measure_together(
    answer: Callable[[Tensor], Sequence[Tensor]],
    labelled: Sequence[Pictures],
    preprocessing: Preprocessing,
    *,
    workers: int = 2,
) -> tuple[list[tuple[float, float]], set[str]]:
    """Measure several tasks on the same pictures, which are loaded once.

    Args:
        answer: [B, 3, S, S] float32 on the CPU to the logits of each task, [B, classes].
        labelled: The pictures as each task labels them.
        preprocessing: Preprocessing, as on the device.
        workers: Processes that load pictures.

    Returns:
        Mean cross-entropy and accuracy (0 to 1) of each task; the names of unreadable pictures.

    Raises:
        DataError: No picture could be read.
    """
    pictures = labelled[0]
    loader = make_loader(
        pictures,
        preprocessing=preprocessing,
        train=False,
        augmentation="none",
        batch_size=64,
        seed=0,
        workers=workers,
    )
    losses, right, count = [0.0] * len(labelled), [0] * len(labelled), 0
    unreadable = set[str]()
    for batch in loader:
        unreadable.update(batch.skipped)
        if len(batch.images) == 0:
            continue
        count += len(batch.images)
        indices = batch.indices.tolist()
        for number, logits in enumerate(answer(batch.images)):
            targets = torch.tensor([labelled[number].target(index) for index in indices])
            targets = targets.to(logits.device)
            loss = nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
            losses[number] += loss.item()
            right[number] += int((logits.argmax(1) == targets).sum())
    if count == 0:
        msg = f"none of the {len(pictures)} pictures to measure on could be read; check the files"
        raise DataError(msg)
    return [(a / count, b / count) for a, b in zip(losses, right, strict=True)], unreadable


def held_out_samples(
    pictures: Pictures, preprocessing: Preprocessing, count: int = SAMPLES
) -> Tensor:
    """Return evenly spaced readable pictures, resized and cropped: [M, S, S, 3] uint8.

    Args:
        pictures: Pictures: of each of `count` stretches of equal length the first readable one is
            taken.
        preprocessing: Preprocessing, as on the device.
        count: M; less where there are fewer pictures, or a whole stretch cannot be read.

    Raises:
        DataError: No picture could be read.
    """
    stretches = min(count, len(pictures))
    ends = [place * len(pictures) // stretches for place in range(stretches + 1)]
    samples: list[Tensor] = []
    for start, end in pairwise(ends):
        for index in range(start, end):
            try:
                cropped = resize_and_crop(pictures.load(index), preprocessing)
            except InputError:
                continue
            samples.append(torch.from_numpy(cropped.copy()))
            break
    if not samples:
        msg = f"none of the {len(pictures)} pictures to measure on could be read; check the files"
        raise DataError(msg)
    return torch.stack(samples)
