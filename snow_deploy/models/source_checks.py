"""Checks of a source before anything is trained on it."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import torch

from snow_deploy.errors import SourceError
from snow_export.trace.nodes import run_nodes

if TYPE_CHECKING:
    from torch import Tensor

    from snow_deploy.models.source import Source

_AMPLE = 512  # pixels that every one of torchvision's CNNs can read


def check_pictures(source: Source, image_size: int) -> None:
    """Check that a source can read pictures of a size, and answers with finite numbers.

    Args:
        source: The source.
        image_size: The pictures' side in pixels.

    Raises:
        SourceError: They are too small, or the network is made for another size; or what it
            answers overflows.
    """
    fault = _fault_at(source, image_size)
    if fault is None:
        _check_features(source, image_size)
        return
    advice = "Choose another --image-size."
    if _fault_at(source, _AMPLE) is None:
        sizes = range(_AMPLE)
        least = bisect.bisect_left(
            sizes, x=True, lo=image_size, key=lambda size: _fault_at(source, size) is None
        )
        advice = f"The smallest that it reads are of {least}: give --image-size {least} or more."
    msg = (
        f"{source.architecture} cannot read pictures of {image_size} x {image_size} pixels: "
        f"{fault}. {advice}"
    )
    raise SourceError(msg)


def _fault_at(source: Source, image_size: int) -> str | None:
    """Try a size on shapes alone, and say what goes wrong."""
    try:
        run_nodes(source.blueprint, torch.zeros(1, 3, image_size, image_size, device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        return str(error).strip().partition("\n")[0].rstrip(".")
    return None


@torch.no_grad()
def _check_features(source: Source, image_size: int) -> None:
    """Run once on noise, and not in oneDNN's packed form: its ReLU makes a zero of NaN."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, image_size, image_size, generator=generator)
    device = next(source.network.parameters()).device
    found: dict[str, Tensor] = source.network(image.to(device))
    for name, features in found.items():
        if not features.isfinite().all():
            msg = (
                f"the weights ({source.weights.origin}) cannot be used: what {name} of the "
                f"{source.architecture} reads is infinite or NaN, though the weights are not. "
                "Take other weights, and the mean and deviation that they expect."
            )
            raise SourceError(msg)
