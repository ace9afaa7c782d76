"""Regions of a camera's picture that are blacked out before it is stored.

Axes: H, W of a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Finder = Callable[[NDArray[np.uint8]], "list[tuple[Point, ...]]"]

Point = tuple[float, float]
_STEP: Final = 0.25  # of a pixel, between two looks along a side


@dataclass(frozen=True)
class Masking:
    """What is blacked out before a picture is stored.

    Attributes:
        regions: Regions of cameras' pictures, by camera.
        find: Function that gives more regions of a picture, uint8 `[H, W, 3]`, blue first, such as
            faces; None for none.
    """

    regions: Mapping[str, tuple[tuple[Point, ...], ...]]
    find: Finder | None = None

    def masked(self, image: NDArray[np.uint8], camera: str) -> NDArray[np.uint8]:
        """Return a camera's picture with black regions; the given one stays as it is."""
        more = () if self.find is None else self.find(image)
        regions = [*self.regions.get(camera, ()), *more]
        return black_out(image, regions) if regions else image


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
    inside = Image.new("L", (width, height))
    draw = ImageDraw.Draw(inside)
    found = image.copy()
    for region in regions:
        corners = np.array(region, np.float64) * (width, height)
        draw.polygon([tuple(each) for each in (corners - 0.5).tolist()], fill=1)  # by middles
        columns, rows = _touched(corners, width, height)
        found[rows, columns] = 0
    found[np.asarray(inside) > 0] = 0
    return found


def _touched(
    corners: NDArray[np.float64], width: int, height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give columns and rows of the pixels through which a polygon's sides go."""
    columns, rows = [], []
    for begin, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        steps = 1 + math.ceil(float(np.abs(end - begin).max()) / _STEP)
        columns.append(np.linspace(begin[0], end[0], steps + 1))
        rows.append(np.linspace(begin[1], end[1], steps + 1))
    across, down = np.concatenate(columns), np.concatenate(rows)
    return (
        np.minimum(across, width - 1).astype(np.int64),
        np.minimum(down, height - 1).astype(np.int64),
    )
