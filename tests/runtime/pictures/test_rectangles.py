"""Pictures for inputs that are no square: resized until they cover, and cut at their middle."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from snow_runtime.graph.image_size import height_width, size_of
from snow_runtime.graph.manifest import Preprocessing
from snow_runtime.pictures.preprocessing import prepare, resize_and_crop
from snow_runtime.self_check import check_picture, drawn_pictures


def preprocessing(size: tuple[int, int], resized: tuple[int, int]) -> Preprocessing:
    return Preprocessing(size_of(*size), size_of(*resized), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("picture", [(54, 96), (90, 80), (33, 200), (40, 64), (1, 1), (300, 20)])
@pytest.mark.parametrize(
    ("size", "resized"), [((40, 64), (40, 64)), ((40, 64), (46, 73)), ((48, 32), (64, 64))]
)
def test_it_is_torchvisions_pipeline_within_a_grey_level(
    picture: tuple[int, int], size: tuple[int, int], resized: tuple[int, int]
) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    image = noise(*picture)
    # The exact scale at which the picture covers both sides, and torchvision's rounding down.
    scale = max(Fraction(wanted, side) for wanted, side in zip(resized, picture, strict=True))
    whole = [int(side * scale) for side in picture]
    expected = transforms.CenterCrop(size)(functional.resize(image, whole, antialias=True))

    seen = resize_and_crop(image, preprocessing(size, resized))

    assert seen.shape == (*size, 3)
    assert np.abs(seen.astype(int) - np.asarray(expected).astype(int)).max() <= 1


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
@settings(max_examples=60, deadline=None)
def test_what_is_shown_is_the_middle_of_the_picture_in_its_own_aspect(
    picture: tuple[int, int], size: tuple[int, int], more: tuple[int, int]
) -> None:
    """Ramps along both sides, before and after: where each pixel comes from can be read off."""
    height, width = picture
    rows, columns = np.mgrid[0:height, 0:width]
    ramp = np.stack([rows / height, columns / width, rows * 0], 2) * 255
    resized = (size[0] + more[0], size[1] + more[1])

    seen = resize_and_crop(Image.fromarray(ramp.astype(np.uint8)), preprocessing(size, resized))

    assert seen.shape == (*size, 3)
    scale = max(resized[0] / height, resized[1] / width)
    for axis in (0, 1):
        shown = seen[..., axis].astype(float) / 255
        middle = (0.5 - 0.5 / picture[axis]) * np.ones(())
        step = 1 / picture[axis] + 1 / (picture[axis] * scale) + 3 / 255
        assert abs(float(shown.mean()) - float(middle)) <= step
        part = size[axis] / (picture[axis] * scale)  # of the side that is shown
        assert float(shown.max() - shown.min()) <= part + step


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_a_picture_of_the_inputs_own_size_is_passed_whole(height: int, width: int) -> None:
    image = noise(height, width)
    seen = resize_and_crop(image, preprocessing((height, width), (height, width)))
    np.testing.assert_array_equal(seen, np.asarray(image))


def test_a_cameras_frame_is_shown_whole_where_the_aspect_is_its_own() -> None:
    frame = np.zeros((72, 128, 3), np.uint8)
    frame[0], frame[-1], frame[:, 0], frame[:, -1] = 255, 255, 255, 255
    prepared = prepare(frame, preprocessing((36, 64), (36, 64)), "bgr")
    edges = prepared[0]
    middle = edges[10:-10, 10:-10].max()
    assert prepared.shape == (3, 36, 64)
    assert min(edges[0].min(), edges[-1].min(), edges[:, 0].min(), edges[:, -1].min()) > middle


def test_a_long_picture_for_a_long_input_is_not_cut_short() -> None:
    """A strip of the input's own aspect is seen to its ends, however long that is."""
    strip = np.repeat(np.arange(2048)[None, :, None] // 8, 8, axis=0).repeat(3, 2).astype(np.uint8)
    seen = resize_and_crop(Image.fromarray(strip), preprocessing((4, 1024), (4, 1024)))
    assert (seen[0, 0, 0], seen[0, -1, 0]) == (0, 255)


@pytest.mark.parametrize("size", [64, (32, 48), (48, 33)])
def test_the_check_pictures_have_the_size_and_differ(size: int | tuple[int, int]) -> None:
    four = drawn_pictures(size)
    assert four.shape == (4, *height_width(size), 3)
    assert len({each.tobytes() for each in four}) == 4
    np.testing.assert_array_equal(four[0], check_picture(size))
