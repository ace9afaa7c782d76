"""Lets a delta's classifier begin as a logistic regression, on the batches of anyone's loader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snow_deploy.errors import TrainingError
from snow_deploy.models.anatomy import HEAD
from snow_deploy.training.linear_probe import fit_probe_on
from snow_deploy.training.wrapped import unwrap_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import nn

    from snow_deploy.models.source import Source


def begin_linear(
    delta: nn.Module, source: Source, batches: Iterable[Sequence[Any]], seed: int = 0
) -> None:
    """Let a classifier begin as a cautious logistic regression on the source's pooled features.

    It is blind to the delta's own features at first, so that a short training begins where a linear
    classifier ends. The recipe `steady` begins so.

    Args:
        delta: The delta, before its first step.
        source: Its source, on any device.
        batches: Batches that begin with images [B, 3, S, S] float32 and targets, [B] int64 or, of
            any number of labels, [B, C] float32; one pass over the training pictures, best without
            augmentation.
        seed: Seed that holds out a fifth of the pictures, on which the penalty is chosen.

    Raises:
        SourceError: The classifier is a convolution.
        TrainingError: There are no pictures, their targets are none of the delta's, or it is no
            network of a task.
    """
    network = unwrap_network(delta)
    place = next(source.network.parameters())
    features: list[Tensor] = []
    targets: list[Tensor] = []
    for batch in batches:
        if len(batch[0]):
            images = batch[0].to(place.device, place.dtype, memory_format=torch.channels_last)
            features.append(source.stream(images, [HEAD])[HEAD].flatten(1).float())
            targets.append(batch[1].to(place.device))
    if not features:
        msg = "there are no pictures to begin on, expected some batches. Give a loader's."
        raise TrainingError(msg)
    wanted = torch.cat(targets)
    _check_targets(wanted, network.num_classes)
    fitted = fit_probe_on(torch.cat(features), wanted, network.num_classes, seed)
    network.start_classifier(fitted.cautious)


def _check_targets(targets: Tensor, classes: int) -> None:
    if targets.is_floating_point():
        holds = targets.ndim == 2 and targets.shape[1] == classes
        seen = f"of the shape {list(targets.shape)}"
    else:
        least, most = int(targets.min()), int(targets.max())
        holds = targets.ndim == 1 and least >= 0 and most < classes
        seen = f"from {least} to {most}"
    if not holds:
        msg = (
            f"the targets are {seen}, but the delta has {classes} classes: expected [B] int64 from "
            f"0 to {classes - 1}, or [B, {classes}] float32. Build the delta for them."
        )
        raise TrainingError(msg)
