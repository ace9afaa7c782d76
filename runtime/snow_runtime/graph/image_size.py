"""The size of the pictures that a network reads: a square, or a height and a width.

A square is one number wherever it is kept or told, as it was before there were other shapes.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from snow_runtime.graph import field_checks

ImageSize: TypeAlias = int | tuple[int, int]
"""Side of a square in pixels, or height and width."""
LARGEST_SIZE: Final = 16384  # pixels a side: a damaged size must not ask for all the memory


def height_width(size: ImageSize) -> tuple[int, int]:
    """Give both sides of a size, in pixels."""
    return (size, size) if isinstance(size, int) else size


def size_of(height: int, width: int) -> ImageSize:
    """Give the size of these sides, in pixels, in its normal form: one number for a square."""
    return height if height == width else (height, width)


def size_text(size: ImageSize) -> str:
    """Write a size for people: `224`, or `180 x 320`, height first."""
    return str(size) if isinstance(size, int) else f"{size[0]} x {size[1]}"


def any_size(where: str, value: object) -> ImageSize:
    """Check a size, and give it in its normal form; see :mod:`snow_runtime.graph.field_checks`.

    Raises:
        ManifestError: It is neither a whole number nor two, or out of range.
    """
    if not isinstance(value, (list, tuple)):
        return field_checks.integer(where, value, 1, LARGEST_SIZE)
    sides: list[Any] = list(value)
    if len(sides) != 2:
        raise field_checks.refusal(where, value, "a side in pixels, or a height and a width")
    height, width = (field_checks.integer(where, side, 1, LARGEST_SIZE) for side in sides)
    return size_of(height, width)
