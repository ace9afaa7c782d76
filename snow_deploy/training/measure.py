"""The final measurement of a network on labelled pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from snow_deploy.data.loading import make_loader
from snow_deploy.errors import DataError
from snow_runtime.errors import InputError
from snow_runtime.preprocessing import resize_and_crop

if TYPE_CHECKING:
    from snow_deploy.data.pictures import Pictures
    from snow_runtime.manifest import Preprocessing

SAMPLES = 5
"""Held-out pictures that travel with a task; not the batch that a graph is traced with."""


@torch.no_grad()
def measure(
    network: nn.Module, pictures: Pictures, preprocessing: Preprocessing, *, workers: int = 2
) -> tuple[float, float, set[str]]:
    """Return mean cross-entropy, accuracy (0 to 1) and the names of unreadable pictures.

    Args:
        network: [B, 3, S, S] float32 in, [B, classes] logits out; put into eval mode.
        pictures: What to measure on; each once, without augmentation.
        preprocessing: As on the device.
        workers: Processes that load pictures.

    Raises:
        DataError: No picture could be read.
    """
    network.eval()
    device = next(network.parameters()).device
    loader = make_loader(
        pictures,
        preprocessing=preprocessing,
        train=False,
        augmentation="none",
        batch_size=64,
        seed=0,
        workers=workers,
    )
    loss, right, count, unreadable = 0.0, 0, 0, set[str]()
    for batch in loader:
        unreadable.update(batch.skipped)
        if len(batch.images) == 0:
            continue
        logits, targets = network(batch.images.to(device)).float(), batch.targets.to(device)
        loss += nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        right += int((logits.argmax(1) == targets).sum())
        count += len(targets)
    if count == 0:
        msg = f"none of the {len(pictures)} pictures to measure on could be read; check the files"
        raise DataError(msg)
    return loss / count, right / count, unreadable


def held_out_samples(
    pictures: Pictures, preprocessing: Preprocessing, count: int = SAMPLES
) -> Tensor:
    """Return evenly spaced readable pictures, resized and cropped: [M, S, S, 3] uint8.

    Raises:
        DataError: No picture could be read.
    """
    samples: list[Tensor] = []
    for index in range(0, len(pictures), max(1, len(pictures) // count)):
        try:
            cropped = resize_and_crop(pictures.load(index), preprocessing)
        except InputError:
            continue
        samples.append(torch.from_numpy(cropped.copy()))
    if not samples:
        msg = f"none of the {len(pictures)} pictures to measure on could be read; check the files"
        raise DataError(msg)
    return torch.stack(samples[:count])
