"""A decoded picture as it is to be seen: with square pixels, neither turned nor mirrored."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WIDEST_PIXEL: Final = 8.0  # a pixel's width over its height, or the other way; else it is no ratio

MOST_PIXELS: Final = 64_000_000
"""A picture of more is not decoded, and none is made larger than this."""


def square_size(width: int, height: int, ratio: float) -> tuple[int, int]:
    """Give the size that shows a picture in square pixels, without losing any if it is not huge.

    Args:
        width: Width of the picture, in its own pixels.
        height: Height of the picture, in the same pixels.
        ratio: A pixel's width over its height.
    """
    if not 1 / _WIDEST_PIXEL <= ratio <= _WIDEST_PIXEL:
        return width, height
    if (ratio >= 1) == (width * height * max(ratio, 1 / ratio) <= MOST_PIXELS):
        return max(1, round(width * ratio)), height
    return width, max(1, round(height / ratio))


def turned(image: NDArray[np.uint8], matrix: bytes | None) -> NDArray[np.uint8]:
    """Turn and mirror a picture `[H, W, 3]` as its file says that it is to be shown.

    Args:
        image: The picture.
        matrix: FFmpeg's display matrix, nine int32, by which (column, row, 1) of each pixel is
            multiplied; None for none. Other angles than right ones are left alone.
    """
    if matrix is None:
        return image
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:36])
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
