"""Pictures that carry a number, which survives JPEG and H.264."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 16


def numbered(number: int, width: int = 256, height: int = 64) -> NDArray[np.uint8]:
    """Draw a number as black and white bars: uint8 `[H, W, 3]`, the lowest bit on the left."""
    image = np.full((height, width, 3), 128, np.uint8)
    side = width // BITS
    for bit in range(BITS):
        image[:, bit * side : (bit + 1) * side] = 255 if number >> bit & 1 else 0
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    side = image.shape[1] // BITS
    middles = image[image.shape[0] // 2, side // 2 :: side, 0][:BITS]
    return sum(int(value > 127) << bit for bit, value in enumerate(middles))


def jpeg(number: int, width: int = 256, height: int = 64) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(numbered(number, width, height)).save(stream, "JPEG", quality=90)
    return stream.getvalue()
