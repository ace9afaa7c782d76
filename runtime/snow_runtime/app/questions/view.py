"""A named part of a camera's picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Rotation = Literal[0, 90, 180, 270]
Box = tuple[float, float, float, float]
Points = tuple[tuple[float, float], ...]
_WHOLE_BOX: Final[Box] = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class CameraView:
    """A rectangle of the picture, turned.

    Attributes:
        name: Name, "" for the whole picture as it is.
        box: Left, top, right and bottom, as shares of the picture's width and height.
        rotation: Degrees by which it is turned clockwise.
        polygon: Points that the box lies around, each with x and y as shares of the picture; None
            of one that is a rectangle by itself. Only who draws it needs them.

    Raises:
        InputError: The box has no area within the picture, or the rotation is none.
    """

    name: str = ""
    box: Box = _WHOLE_BOX
    rotation: Rotation = 0
    polygon: Points | None = None

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            msg = (
                f"The view {self.name} has the box {list(self.box)}, expected left, top, right and "
                "bottom as shares of the picture, 0 to 1, right and bottom beyond left and top."
            )
            raise InputError(msg)
        if self.rotation not in {0, 90, 180, 270}:
            msg = (
                f"The view {self.name} is turned by {self.rotation} degrees, expected 0, 90, 180 "
                "or 270. Correct it."
            )
            raise InputError(msg)

    def part(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the rectangle of a picture, not turned; nothing is copied.

        Args:
            image: uint8 `[H, W, 3]`.

        Returns:
            uint8 `[h, w, 3]`, one pixel at least each way.
        """
        if self.box == _WHOLE_BOX:
            return image
        rows = _span(self.box[1], self.box[3], image.shape[0])
        columns = _span(self.box[0], self.box[2], image.shape[1])
        return image[rows, columns]

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the view of a picture, uint8 `[h, w, 3]`; the whole one is the picture itself."""
        found = self.part(image)
        if self.rotation:
            found = np.rot90(found, -self.rotation // 90)
        return found if found is image else np.ascontiguousarray(found)


def box_of(points: Sequence[Sequence[float]]) -> Box:
    """Return the smallest box around points, each with its x and its y."""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    return min(xs), min(ys), max(xs), max(ys)


def _span(begin: float, end: float, size: int) -> slice:
    first = min(round(begin * size), size - 1)
    return slice(first, max(first + 1, round(end * size)))
