from __future__ import annotations

import colorsys
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_deploy.data.demo_picture import COLOURS, DIGITS, SHAPES, TEXTURES, DemoAnswers, render
from snow_deploy.data.seeding import Draws, keyed_bits
from snow_runtime.graph.image_size import height_width
from snow_runtime.graph.manifest import Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pixels(answers: DemoAnswers, seed: int, size: int = 64) -> NDArray[np.int64]:
    picture = render(answers, Draws(keyed_bits("test", seed)), size)
    assert (picture.mode, picture.size) == ("RGB", (size, size))
    return np.asarray(picture).astype(np.int64)


def changed(one: DemoAnswers, other: DemoAnswers, seed: int) -> NDArray[np.int64]:
    """Tell how much another answer changes of a picture that stays the same otherwise."""
    difference: NDArray[np.int64] = np.abs(pixels(one, seed) - pixels(other, seed)).max(axis=-1)
    return difference


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    shapes=st.permutations(range(len(SHAPES))),
    digits=st.permutations(range(len(DIGITS))),
)
def test_what_is_asked_for_survives_the_evaluation_crop(
    seed: int, shapes: list[int], digits: list[int]
) -> None:
    # Resized from 64 to 73 pixels and cropped to 64: four of the 64 are lost on each side.
    crop = Preprocessing.for_size(64, mean=(0, 0, 0), std=(1, 1, 1))
    resized, _ = height_width(crop.resize_size)
    lost = int((resized - 64) / 2 * 64 / resized)
    base = DemoAnswers(shapes[0], 0, digits[0], 0)
    for other in (base._replace(shape=shapes[1]), base._replace(digit=digits[1])):
        difference = changed(base, other, seed)
        assert (difference > 8).sum() >= 8
        difference[lost:-lost, lost:-lost] = 0
        assert difference.max() <= 0


@pytest.mark.parametrize(
    ("field", "names"),
    [("shape", SHAPES), ("texture", TEXTURES), ("digit", DIGITS), ("colour", COLOURS)],
)
def test_every_two_answers_look_different(field: str, names: tuple[str, ...]) -> None:
    for one, other in itertools.combinations(range(len(names)), 2):
        base = DemoAnswers(2, 0, 0, 0)
        differences = [
            changed(base._replace(**{field: one}), base._replace(**{field: other}), seed)
            for seed in range(3)
        ]
        assert min((difference > 15).sum() for difference in differences) >= 10


def test_a_larger_picture_shows_the_same_thing() -> None:
    small, large = (
        pixels(DemoAnswers(4, 0, 5, 0), 1, size).astype(np.float64) for size in (64, 128)
    )
    blocks = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    smooth = [part.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3)) for part in (small, blocks)]
    np.testing.assert_allclose(smooth[0], smooth[1], atol=16)


def test_the_light_leaves_something_to_see() -> None:
    spreads = [pixels(DemoAnswers(0, 0, 0, 0), seed).std() for seed in range(50)]
    assert min(spreads) > 8


@pytest.mark.parametrize("colour", range(len(COLOURS)))
def test_a_shape_has_the_colour_of_its_name(colour: int) -> None:
    """The hue that the shape adds to its background is nearest to the one that is named."""
    expected = {"red": 0, "yellow": 60, "green": 120, "cyan": 180, "blue": 240, "magenta": 300}
    base = DemoAnswers(0, 0, 0, 0)
    for seed in range(10):
        inside = changed(base, base._replace(colour=(colour + 3) % len(COLOURS)), seed) > 15
        inside |= changed(base._replace(colour=colour), base, seed) > 15
        red, green, blue = pixels(base._replace(colour=colour), seed)[inside].mean(axis=0) / 255
        hue = 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
        away = abs((hue - expected[COLOURS[colour]] + 180) % 360 - 180)
        assert away < 30
