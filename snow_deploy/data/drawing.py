"""Filled outlines and strokes on a grid of pixels, in NumPy alone.

A drawing library's edges change from version to version; these don't. Axes: H and W rows and
columns of pixels, M segments of a line. Coordinates are (x, y) in pixels, y downwards.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_FULL_TURN_DEG = 360.0


class Grid(NamedTuple):
    """Where the middles of pixels lie: x and y, each float64 `[H, W]`."""

    x: Array
    y: Array


def polyline(*points: tuple[float, float]) -> Array:
    """Return points as an array, float64 `[M + 1, 2]`."""
    return np.array(points, dtype=np.float64)


def arc(
    middle: tuple[float, float],
    radii: tuple[float, float],
    start_deg: float = 0.0,
    stop_deg: float = _FULL_TURN_DEG,
    segments: int = 12,
) -> Array:
    """Return an arc of an ellipse, float64 `[segments + 1, 2]`; 0 degrees is right, 90 down."""
    angles = np.radians(np.linspace(start_deg, stop_deg, segments + 1))
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points: Array = np.array(middle) + np.array(radii) * circle
    return points


def star(points: int, inner: float) -> Array:
    """Return a closed star of radius 1 with notches of radius `inner`, `[2 * points + 1, 2]`."""
    corners = np.arange(2 * points + 1)
    angles = corners * math.pi / points - math.pi / 2
    radii = np.where(corners % 2 == 0, 1.0, inner)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def polygon(corners: int) -> Array:
    """Return a closed regular polygon of radius 1, float64 `[corners + 1, 2]`."""
    return star(corners, 1.0)[::2]


def fill_coverage(grid: Grid, outline: Array) -> Array:
    """Return how much of each pixel a closed outline covers.

    Args:
        grid: The pixels.
        outline: `[M + 1, 2]`, its last point equal to its first.

    Returns:
        float64 `[H, W]` in [0, 1], soft over one pixel.
    """
    distance = _distance(grid, outline[:-1], outline[1:])
    return unit(0.5 + np.where(_inside(grid, outline), distance, -distance))


def stroke_coverage(grid: Grid, strokes: Sequence[Array], width: float) -> Array:
    """Return how much of each pixel lines of one width cover.

    Args:
        grid: The pixels.
        strokes: Polylines, each `[M + 1, 2]`.
        width: Width of the lines, in pixels; their ends are round.

    Returns:
        float64 `[H, W]` in [0, 1], soft over one pixel.
    """
    start = np.concatenate([stroke[:-1] for stroke in strokes])
    end = np.concatenate([stroke[1:] for stroke in strokes])
    return unit(0.5 + width / 2 - _distance(grid, start, end))


def unit(values: Array) -> Array:
    """Clip to [0, 1] in place, several times as fast as np.clip on small arrays."""
    np.maximum(values, 0.0, out=values)
    return np.minimum(values, 1.0, out=values)


def _distance(grid: Grid, start: Array, end: Array) -> Array:
    """Return the distance of each pixel to the nearest of the segments, `[H, W]`.

    In a segment's own frame, with its middle at 0 and itself along one axis, the distance is made
    of the offset across it and of how far the offset along it goes past its half length.
    """
    step = end - start
    length = np.sqrt((step**2).sum(axis=1))  # [M]
    unit_x, unit_y = (step / length[:, None]).T
    middle_x, middle_y = ((start + end) / 2).T
    along = _linear(grid, unit_x, unit_y, middle_x, middle_y)
    np.abs(along, out=along)
    along -= _column(length / 2)
    np.maximum(along, 0.0, out=along)
    across = _linear(grid, -unit_y, unit_x, middle_x, middle_y)
    along *= along
    across *= across
    along += across
    nearest: Array = np.sqrt(along.min(axis=0)).astype(np.float64)
    return nearest


def _linear(
    grid: Grid, slope_x: Array, slope_y: Array, zero_x: Array, zero_y: Array
) -> NDArray[np.float32]:
    """Return M linear functions of the pixels' places, `[M, H, W]`, each 0 at its own zero.

    Single precision is good to 1e-5 pixels and halves the time.
    """
    values = _column(slope_x) * grid.x.astype(np.float32)
    values += _column(slope_y) * grid.y.astype(np.float32)
    values -= _column(slope_x * zero_x + slope_y * zero_y)
    return values


def _column(values: Array) -> NDArray[np.float32]:
    """Return `[M]` as `[M, 1, 1]`."""
    return values.astype(np.float32)[:, None, None]


def _inside(grid: Grid, outline: Array) -> NDArray[np.bool_]:
    """Tell for each pixel whether a ray to its right crosses the outline oddly often, `[H, W]`."""
    inside = np.zeros(grid.x.shape, dtype=np.bool_)
    corners = outline.tolist()
    below = [grid.y > y for _, y in corners]
    for number, ((ax, ay), (bx, by)) in enumerate(itertools.pairwise(corners)):
        if ay != by:
            slope = (bx - ax) / (by - ay)
            left_of_line = grid.x - slope * grid.y < ax - slope * ay
            inside ^= (below[number] ^ below[number + 1]) & left_of_line
    return inside
