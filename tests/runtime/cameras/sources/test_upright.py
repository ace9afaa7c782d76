from __future__ import annotations

import struct

import numpy as np
import pytest

from snow_runtime.cameras.sources.upright import square_size, turned


@pytest.mark.parametrize("ratio", [0.0, 1e-9, 1e9, -1.0, float("inf"), float("nan")])
def test_a_ratio_that_is_none_changes_nothing(ratio: float) -> None:
    assert square_size(640, 480, ratio) == (640, 480)


@pytest.mark.parametrize(
    ("a", "b", "c", "d"),
    [(x, 0, 0, y) for x in (1, -1) for y in (1, -1)]
    + [(0, x, y, 0) for x in (1, -1) for y in (1, -1)],
)
def test_each_pixel_goes_where_the_matrix_has_it(a: int, b: int, c: int, d: int) -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    matrix = struct.pack("=9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 77 << 16, 0, 1 << 30)

    places = {(a * x + c * y, b * x + d * y): (y, x) for y in range(2) for x in range(3)}
    columns, rows = sorted({x for x, _ in places}), sorted({y for _, y in places})
    expected = np.array([[image[places[x, y]] for x in columns] for y in rows])
    assert np.array_equal(turned(image, matrix), expected)


@pytest.mark.parametrize("matrix", [None, bytes(36)])
def test_no_matrix_turns_nothing(matrix: bytes | None) -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)

    assert np.array_equal(turned(image, matrix), image)


@pytest.mark.parametrize(
    ("size", "ratio", "shown"),
    [
        ((100, 80), 2.0, (200, 80)),
        ((100, 80), 0.5, (100, 160)),
        ((10_000, 5_000), 2.0, (10_000, 2_500)),  # 100 megapixels would be too many
        ((10_000, 5_000), 0.5, (5_000, 5_000)),
        ((1, 1), 1.0, (1, 1)),
    ],
)
def test_a_picture_grows_unless_it_were_huge(
    size: tuple[int, int], ratio: float, shown: tuple[int, int]
) -> None:
    assert square_size(*size, ratio) == shown
