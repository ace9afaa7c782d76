from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from snow_runtime.cameras import open_camera
from snow_runtime.cameras.sources.synthetic import SyntheticSource
from snow_runtime.cameras.uri import parse
from snow_runtime.errors import CameraError


def source(query: str = "") -> SyntheticSource:
    return SyntheticSource(parse(f"synthetic://?{query}"))


def test_pictures_have_the_size_asked_for() -> None:
    image = source("width=100&height=60").picture(0)

    assert image.shape == (60, 100, 3)
    assert image.dtype == np.uint8
    assert image.std() > 10
    assert source().picture(0).shape == (720, 1280, 3)


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others() -> None:
    one, same, other = (source(f"width=64&height=48&seed={seed}") for seed in (1, 1, 2))

    np.testing.assert_array_equal(one.picture(7), same.picture(7))
    assert (one.picture(7) != other.picture(7)).any()


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (17, 301)])
def test_no_picture_equals_the_one_before(size: tuple[int, int]) -> None:
    drawn = source(f"width={size[0]}&height={size[1]}")
    images = [drawn.picture(number) for number in range(200)]

    assert all((one != two).any() for one, two in itertools.pairwise(images))


def test_a_picture_is_the_callers_own() -> None:
    drawn = source("width=64&height=48")
    drawn.picture(0)[:] = 0

    assert drawn.picture(0).any()


def test_a_camera_without_a_rate_gives_every_frame() -> None:
    with open_camera("synthetic://?width=64&height=48&fps=0&seed=5") as camera:
        assert camera.mode == "every-frame"
        frames = list(itertools.islice(camera, 20))

    assert [frame.number for frame in frames] == list(range(20))
    assert camera.counters.drops <= 6  # those that waited when it was closed
    for frame in frames:
        expected = source("width=64&height=48&seed=5").picture(frame.number)
        np.testing.assert_array_equal(frame.image, expected)


def test_a_camera_with_a_rate_keeps_it() -> None:
    start = time.monotonic()
    with open_camera("synthetic://?width=64&height=48&fps=100") as camera:
        assert camera.mode == "newest"
        *_, last = itertools.islice(camera, 40)

    assert last.captured_at.monotonic_s - start > last.number / 100


@pytest.mark.parametrize("query", ["width=8", "height=10000", "fps=-1", "size=3", "seed=x"])
def test_values_out_of_range(query: str) -> None:
    with pytest.raises(CameraError, match="expected"):
        open_camera(f"synthetic://?{query}")
