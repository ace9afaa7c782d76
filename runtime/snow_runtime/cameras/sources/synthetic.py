"""A camera that draws its own moving pictures, for trials and tests without a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from snow_runtime.cameras.sources.source import CameraPicture
from snow_runtime.cameras.uri import parse_numeric_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.cameras.uri import Address

_WAVES: Final = 3
_SCROLL: Final = 4  # pixels a frame
_JUMP: Final = 7  # pixels a frame


class SyntheticSource:
    """A coloured pattern that scrolls behind a white square that bounces.

    The same seed, size and number give the same picture, whenever and wherever it is drawn; no
    picture equals the one before it. The pattern is drawn once, twice as wide as the pictures, and
    each picture is a copy of a part of it.

    Args:
        address: ``synthetic://?width=1280&height=720&fps=30&seed=0``; with ``fps=0`` pictures come
            as fast as they are asked for.

    Raises:
        CameraError: A value of the query is out of its range.
    """

    def __init__(self, address: Address) -> None:
        query = parse_numeric_query(
            address,
            {
                "width": (1280, 16, 8192),
                "height": (720, 16, 8192),
                "fps": (30.0, 0, 1000),
                "seed": (0, 0, 2**32 - 1),
            },
        )
        self.width, self.height = int(query["width"]), int(query["height"])
        self.fps = query["fps"]
        self._seed = int(query["seed"])
        self._pattern: NDArray[np.uint8] | None = None
        self._number = 0

    @property
    def interval_s(self) -> float:
        """Seconds from one picture to the next; 0: as fast as they are asked for."""
        return 1 / self.fps if self.fps else 0.0

    def open(self) -> None:
        """Draw the pattern."""
        self._drawn()

    def read(self) -> CameraPicture:
        """Give the next picture."""
        picture = CameraPicture(self.picture(self._number), number=self._number)
        self._number += 1
        return picture

    def picture(self, number: int) -> NDArray[np.uint8]:
        """Draw picture ``number``, counted from 0: uint8 `[H, W, 3]`."""
        left = (number * _SCROLL) % self.width
        image = self._drawn()[:, left : left + self.width].copy()
        side = max(4, min(self.height, self.width) // 8)
        top = _bounce(number * _JUMP, self.height - side)
        left = _bounce(number * _JUMP * 2, self.width - side)
        image[top : top + side, left : left + side] = 255
        return image

    def interrupt(self) -> None:
        """Do nothing: a picture takes a millisecond."""

    def close(self) -> None:
        """Let go of the pattern."""
        self._pattern = None

    def _drawn(self) -> NDArray[np.uint8]:
        if self._pattern is None:
            rng = np.random.default_rng(self._seed)
            self._pattern = _draw(self.height, self.width, rng)
        return self._pattern


def _draw(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add up a few waves in each channel, whole ones across the width: `[H, 2 W, 3]`.

    Whole waves let the pattern scroll without a seam, the same after `W` pixels.
    """
    y = np.arange(height, dtype=np.float32)[:, np.newaxis] / height  # [H, 1]
    x = np.arange(width, dtype=np.float32)[np.newaxis] / width  # [1, W]
    tile = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        total = np.zeros((height, width), np.float32)
        for _ in range(_WAVES):
            across, down = rng.integers(1, 6), rng.uniform(-3, 3)
            total += np.sin(2 * np.pi * (across * x + down * y + rng.uniform()), dtype=np.float32)
        tile[..., channel] = 128 + total * (100 / _WAVES)
    return np.concatenate([tile, tile], axis=1)


def _bounce(way: int, length: int) -> int:
    """Give the place after ``way`` pixels to and fro between 0 and ``length``."""
    if length <= 0:
        return 0
    place = way % (2 * length)
    return min(place, 2 * length - place)
