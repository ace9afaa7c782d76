"""The smallest picture that a network can take: its poolings and strides must leave something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snow_deploy.errors import SourceError

if TYPE_CHECKING:
    from snow_deploy.models.source import Source

_LARGEST = 512  # pixels; what a network does not take then, it does not take for its size


def check_image_size(source: Source, image_size: int) -> None:
    """Refuse pictures that are too small for a source, before anything is trained or written.

    Only shapes are computed.

    Raises:
        SourceError: The source's layers leave nothing of them; the message names the least side.
    """
    why = _refusal(source, image_size)
    if why is None:
        return
    least = _smallest(source, image_size)
    advice = (
        f"expected {least} or more. Give --image-size {least}, or another --source."
        if least is not None
        else "expected a network that takes square pictures. Choose another --source."
    )
    msg = f"a {source.architecture} cannot read pictures of {image_size} pixels ({why}), {advice}"
    raise SourceError(msg)


def _smallest(source: Source, too_small: int) -> int | None:
    """Search by halves between a size that is too small and one that is not."""
    low, high = too_small, _LARGEST
    if high <= low or _refusal(source, high) is not None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _refusal(source, middle) is None:
            high = middle
        else:
            low = middle
    return high


@torch.no_grad()
def _refusal(source: Source, image_size: int) -> str | None:
    """Return why a picture cannot pass, in torch's words; None where it can."""
    image = torch.zeros(1, 3, image_size, image_size, device="meta")
    network = source.blueprint.eval()
    try:
        network(image)
    except (RuntimeError, ValueError) as error:
        return str(error).strip().splitlines()[0].rstrip(".") or type(error).__name__
    return None
