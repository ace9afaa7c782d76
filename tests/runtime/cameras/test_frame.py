from __future__ import annotations

import numpy as np
import pytest

from snow_runtime.cameras import BadPictureError, Frame, Instant
from snow_runtime.cameras.clock import Clock
from snow_runtime.cameras.sources.source import as_bgr


class Fixed(Clock):
    def monotonic_s(self) -> float:
        return 12.5


def test_the_age_is_counted_from_the_capture() -> None:
    frame = Frame(np.zeros((2, 3, 3), np.uint8), 4, Instant(12.25, 1.7e9), "door", Fixed())

    assert frame.age_ms == 250
    assert "door" in repr(frame)
    assert "0, 0" not in repr(frame)  # no pixels


def test_the_systems_clocks() -> None:
    now = Clock().now()

    assert Clock().monotonic_s() >= now.monotonic_s
    assert now.unix_s > 1.7e9


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_decoders_results_become_bgr(shape: tuple[int, ...]) -> None:
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)

    bgr = as_bgr(image, "it")

    assert bgr.shape == (4, 5, 3)
    assert bgr.flags.c_contiguous
    if len(shape) == 3 and shape[2] >= 3:
        np.testing.assert_array_equal(bgr, image[..., :3])
    else:
        np.testing.assert_array_equal(bgr[..., 2], image.reshape(4, 5))


@pytest.mark.parametrize(
    "image",
    [
        None,
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((4, 5, 3), np.uint16),
        np.zeros((4, 5, 2), np.uint8),
        np.zeros(5, np.uint8),
    ],
)
def test_what_is_no_picture(image: object) -> None:
    with pytest.raises(BadPictureError, match="expected uint8"):
        as_bgr(image, "it")
