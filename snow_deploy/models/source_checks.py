"""Checks of a source before anything is trained on it."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING

import torch

from snow_deploy.errors import SourceError
from snow_deploy.models.finite_values import all_finite
from snow_export.trace.nodes import run_nodes
from snow_runtime.graph.image_size import height_width, size_of, size_text

if TYPE_CHECKING:
    from torch import Tensor

    from snow_deploy.models.source import Source
    from snow_runtime.graph.image_size import ImageSize

_AMPLE = 512  # pixels that every one of torchvision's CNNs can read


def check_pictures(source: Source, image_size: ImageSize) -> None:
    """Check that a source can read pictures of a size, and answers with finite numbers.

    Args:
        source: The source.
        image_size: The pictures' side in pixels, or height and width.

    Raises:
        SourceError: They are too small, or the network is made for another size; or what it
            answers overflows.
    """
    fault = _fault_at(source, image_size)
    if fault is None:
        _check_features(source, image_size)
        return
    advice = "Choose another --image-size."
    sides = height_width(image_size)
    short = min(sides)

    def with_short(side: int) -> ImageSize:
        return size_of(*(math.ceil(each * side / short) for each in sides))

    if _fault_at(source, with_short(_AMPLE)) is None:
        sizes = range(_AMPLE)
        least = bisect.bisect_left(
            sizes, x=True, lo=short, key=lambda side: _fault_at(source, with_short(side)) is None
        )
        smallest = with_short(least)
        advice = (
            f"The smallest that it reads are of {size_text(smallest)}: give --image-size "
            f"{size_text(smallest).replace(' ', '')} or more."
        )
    msg = (
        f"{source.architecture} cannot read pictures of {sides[0]} x {sides[1]} pixels: "
        f"{fault}. {advice}"
    )
    raise SourceError(msg)


def _fault_at(source: Source, image_size: ImageSize) -> str | None:
    """Try a size on shapes alone, and say what goes wrong."""
    try:
        run_nodes(source.blueprint, torch.zeros(1, 3, *height_width(image_size), device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        return str(error).strip().partition("\n")[0].rstrip(".")
    return None


@torch.no_grad()
def _check_features(source: Source, image_size: ImageSize) -> None:
    """Run once on noise, and not in oneDNN's packed form: its ReLU makes a zero of NaN."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *height_width(image_size), generator=generator)
    device = next(source.network.parameters()).device
    found: dict[str, Tensor] = source.network(image.to(device))
    for name, features in found.items():
        if not all_finite(features):
            msg = (
                f"the weights ({source.weights.origin}) cannot be used: what {name} of the "
                f"{source.architecture} reads is infinite or NaN, though the weights are not. "
                "Take other weights, and the mean and deviation that they expect."
            )
            raise SourceError(msg)
