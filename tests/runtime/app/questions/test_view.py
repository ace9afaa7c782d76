from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from snow_runtime.app.questions.motion import Motion
from snow_runtime.app.questions.question import Question
from snow_runtime.app.questions.view import CameraView, box_of
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_view_is_what_pillow_cuts_and_turns_clockwise(rotation: Any) -> None:
    image = noise(40, 60)
    found = CameraView("a", (0.25, 0.5, 0.75, 1.0), rotation).cut(image)

    cut = Image.fromarray(image).crop((15, 20, 45, 40)).rotate(-rotation, expand=True)
    assert np.array_equal(found, np.asarray(cut))
    assert found.flags.c_contiguous


def test_the_whole_picture_is_not_copied() -> None:
    image = noise(4, 6)
    assert CameraView().cut(image) is image


@given(
    st.tuples(*[st.floats(0, 1)] * 4).filter(lambda b: b[0] < b[2] and b[1] < b[3]),
    st.integers(1, 30),
    st.integers(1, 30),
)
def test_every_view_has_a_pixel_and_none_from_outside(
    box: tuple[float, float, float, float], height: int, width: int
) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    part = CameraView("a", box).part(image)
    assert 1 <= part.shape[0] <= height
    assert 1 <= part.shape[1] <= width
    assert np.shares_memory(part, image)


@pytest.mark.parametrize(
    ("box", "rotation"),
    [((0.5, 0, 0.5, 1), 0), ((-0.1, 0, 1, 1), 0), ((0, 0.7, 1, 0.6), 0), ((0, 0, 1, 1), 45)],
)
def test_views_that_are_none(box: Any, rotation: Any) -> None:
    with pytest.raises(InputError, match="expected"):
        CameraView("a", box, rotation)


def test_the_box_of_a_polygon() -> None:
    assert box_of([(0.5, 0.1), (0.9, 0.4), (0.2, 0.7)]) == (0.2, 0.1, 0.9, 0.7)


@pytest.mark.parametrize("wrong", [{"seconds": -1}, {"motion": 0}, {"motion": 2}, {"hold_s": -1}])
def test_questions_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected times of 0 or more"):
        Question("q", "food", "door", **wrong)


def test_motion_is_a_share_of_the_picture_and_no_noise() -> None:
    still = np.full((320, 480, 3), 100, np.uint8)
    motion = Motion(0.05)
    assert motion.differs(still)
    motion.mark(still)
    assert not motion.differs(still)
    shimmer = still + np.random.default_rng(1).integers(0, 20, still.shape, dtype=np.uint8)
    assert not motion.differs(shimmer)
    walker = still.copy()
    walker[:, :12] = 200  # 2.5 %
    assert not motion.differs(walker)
    walker[:, :48] = 200  # 10 %
    assert motion.differs(walker)
    assert motion.differs(still[:, :200])
    motion.mark(walker)
    assert motion.differs(still)
    assert not motion.differs(walker)
