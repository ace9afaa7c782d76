from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from snow_deploy.data.drawing import (
    Grid,
    arc,
    fill_coverage,
    polygon,
    polyline,
    star,
    stroke_coverage,
    unit,
)

if TYPE_CHECKING:
    from snow_deploy.data.drawing import Array

SIDE, FINE = 24, 16  # pixels, and how many times finer the reference is drawn


def grid() -> Grid:
    middles = np.arange(SIDE) + 0.5
    x, y = np.meshgrid(middles, middles)
    return Grid(x, y)


def reduced(fine: Image.Image) -> Array:
    pixels = np.asarray(fine, dtype=np.float64).reshape(SIDE, FINE, SIDE, FINE)
    mean: Array = pixels.mean(axis=(1, 3)) / 255
    return mean


@pytest.mark.parametrize(
    "outline", [polygon(3), polygon(4), polygon(24), star(5, 0.45), arc((0, 0), (1, 0.6))]
)
def test_a_filled_outline_agrees_with_a_fine_drawing(outline: Array) -> None:
    placed = 9.3 * outline + np.array([12.2, 11.6])
    fine = Image.new("L", (SIDE * FINE, SIDE * FINE))
    ImageDraw.Draw(fine).polygon([tuple(point) for point in (placed * FINE).tolist()], fill=255)
    difference = np.abs(fill_coverage(grid(), placed) - reduced(fine))
    assert difference.max() < 0.35  # at a sharp tip
    assert difference.mean() < 0.01


@settings(deadline=None, max_examples=30)
@given(
    points=st.lists(
        st.tuples(st.integers(2, 22), st.integers(2, 22)), min_size=2, max_size=5, unique=True
    ),
    width=st.floats(1, 5),
)
def test_a_stroke_is_what_lies_near_its_line(
    points: list[tuple[float, float]], width: float
) -> None:
    line = polyline(*points)
    steps = np.linspace(0, 1, 1500)[:, None, None]
    dots = (line[:-1] + steps * (line[1:] - line[:-1])).reshape(-1, 2)
    x, y = grid()
    distance = np.min(
        np.hypot(x[..., None] - dots[:, 0], y[..., None] - dots[:, 1]), axis=-1
    )  # [SIDE, SIDE]
    expected = np.clip(0.5 + width / 2 - distance, 0, 1)
    np.testing.assert_allclose(stroke_coverage(grid(), [line], width), expected, atol=0.02)


def test_strokes_do_not_add_up() -> None:
    line = polyline((4, 12), (20, 12))
    once = stroke_coverage(grid(), [line], 3.0)
    np.testing.assert_array_equal(once, stroke_coverage(grid(), [line, line], 3.0))
    assert once.sum() == pytest.approx(16 * 3 + math.pi * 1.5**2, rel=0.02)


def test_points_of_figures() -> None:
    np.testing.assert_allclose(arc((1, 2), (3, 4), 0, 90, segments=1), [(4, 2), (1, 6)], atol=1e-12)
    np.testing.assert_allclose(polygon(4), [(0, -1), (1, 0), (0, 1), (-1, 0), (0, -1)], atol=1e-12)
    np.testing.assert_allclose(np.hypot(*star(5, 0.5).T), [1, 0.5] * 5 + [1])


def test_unit_clips_in_place() -> None:
    values = np.array([-1.0, 0.25, 2.0])
    assert unit(values) is values
    assert values.tolist() == [0.0, 0.25, 1.0]
