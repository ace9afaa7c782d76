"""Regions of a camera's picture that are blacked out before it is stored.

Axes: H, W of a picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Point = tuple[float, float]


def checked_region(points: Sequence[Sequence[float]]) -> tuple[Point, ...]:
    """Return a region's corners, each with its x and its y as shares of the picture.

    Raises:
        InputError: There are too few, or one is no point of the picture.
    """
    wrong = [each for each in points if len(each) != 2 or not all(0 <= n <= 1 for n in each)]
    if len(points) < 3 or wrong:
        msg = (
            f"The corners {[list(each) for each in points]} make no region, expected three points "
            "or more, each with x and y as shares of the picture, 0 to 1. Correct them."
        )
        raise InputError(msg)
    return tuple((float(x), float(y)) for x, y in points)


def black_out(image: NDArray[np.uint8], regions: Iterable[Sequence[Point]]) -> NDArray[np.uint8]:
    """Return a picture with black regions; the given one stays as it is.

    Args:
        image: uint8 `[H, W, 3]`.
        regions: Corners of each, as shares of the picture. A pixel that a region touches is black.
    """
    from PIL import Image, ImageDraw

    height, width = image.shape[:2]
    hidden = Image.new("L", (width, height))
    draw = ImageDraw.Draw(hidden)
    for region in regions:
        corners = [(x * (width - 1), y * (height - 1)) for x, y in region]
        draw.polygon(corners, fill=1, outline=1)
    found = image.copy()
    found[np.asarray(hidden) > 0] = 0
    return found
