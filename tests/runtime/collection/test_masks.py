"""What a region covers is black, and nothing else is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.collection.faces import FaceFinder
from snow_runtime.collection.masks import black_out, checked_region
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_rectangle_and_a_triangle_are_black_and_the_rest_is_not() -> None:
    image = np.full((40, 60, 3), 200, np.uint8)
    box = ((0.5, 0.0), (1.0, 0.0), (1.0, 0.5), (0.5, 0.5))
    triangle = ((0.0, 0.0), (0.4, 0.0), (0.0, 0.9))
    found = black_out(image, [box, triangle])
    assert (image == 200).all()
    y, x = np.mgrid[:40, :60]
    shares = x / 59, y / 39
    in_box = (shares[0] >= 0.5) & (shares[1] <= 0.5)
    in_triangle = shares[0] / 0.4 + shares[1] / 0.9 <= 1
    hidden = (found == 0).all(axis=2)
    assert hidden[in_box | in_triangle].all()
    beyond = (shares[0] < 0.47) & (shares[0] / 0.4 + shares[1] / 0.9 > 1.1)
    assert (found[beyond] == 200).all()
    assert (found[shares[1] > 0.93] == 200).all()


def test_the_whole_picture_and_a_pixel() -> None:
    image = np.full((3, 5, 3), 9, np.uint8)
    assert (black_out(image, [((0, 0), (1, 0), (1, 1), (0, 1))]) == 0).all()
    assert (black_out(image, [((0.5, 0.5),) * 3]) == 0).all(axis=2).sum() == 1


@pytest.mark.parametrize(
    "points",
    [[], [[0, 0], [1, 1]], [[0, 0], [1, 1], [1]], [[0, 0], [1, 1], [1, 1.1]], [[0, 0, 0]] * 3],
)
def test_what_is_no_region_is_refused(points: list[list[float]]) -> None:
    with pytest.raises(InputError, match="three points"):
        checked_region(points)


def test_faces_are_found_by_the_model_and_covered_with_a_margin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV's own model is not here: what it gives has one row a face, its box first."""
    cv2 = pytest.importorskip("cv2")

    class Detector:
        def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802 - OpenCV's name
            assert size == (200, 100)

        def detect(self, image: Any) -> tuple[int, Any]:
            if image.max() == 0:
                return 1, None
            return 1, np.asarray([[20, 40, 40, 20, *range(11)]], np.float32)

    model = tmp_path / "faces.onnx"
    with pytest.raises(InputError, match="no model of faces"):
        FaceFinder(model)
    model.write_bytes(b"not a model")
    with pytest.raises(InputError, match="that OpenCV can load"):
        FaceFinder(model)
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_, **__: Detector())
    find = FaceFinder(model)
    assert find(np.zeros((100, 200, 3), np.uint8)) == []
    ((first, _, third, _),) = find(np.ones((100, 200, 3), np.uint8))
    assert first == pytest.approx((10 / 200, 35 / 100))
    assert third == pytest.approx((70 / 200, 65 / 100))
