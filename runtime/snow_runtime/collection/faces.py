"""Finding faces, so that they are blacked out before a picture is stored: OpenCV's YuNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import InputError, MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.collection.masks import Point

_LEAST_SCORE: Final = 0.5  # rather a face too many
_MARGIN: Final = 0.25  # of a face's size, on each side


class FaceFinder:
    """Gives the regions of faces; one thread uses it.

    Args:
        model: Model of YuNet, `face_detection_yunet_….onnx` of OpenCV's zoo.

    Raises:
        InputError: It is not there, or is no such model.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self, model: Path) -> None:
        try:
            import cv2
        except ImportError as error:
            msg = (
                f"Finding faces needs OpenCV, which is not installed; run: {pip_install('camera')}"
            )
            raise MissingDependencyError(msg) from error
        advice = "Give face_detection_yunet_….onnx of OpenCV's model zoo."
        if not model.is_file():
            msg = f"There is no model of faces {model}. {advice}"
            raise InputError(msg)
        try:
            self._detector: Any = cv2.FaceDetectorYN.create(
                str(model), "", (320, 320), score_threshold=_LEAST_SCORE
            )
        except cv2.error as error:
            msg = f"{model} is no model of faces that OpenCV can load: {error.err}. {advice}"
            raise InputError(msg) from error

    def __call__(self, image: NDArray[np.uint8]) -> list[tuple[Point, ...]]:
        """Return the regions of a picture, uint8 `[H, W, 3]`, blue first, as shares of it."""
        height, width = image.shape[:2]
        self._detector.setInputSize((width, height))
        _, faces = self._detector.detect(image)
        boxes = () if faces is None else faces[:, :4].tolist()
        return [_region(box, width, height) for box in boxes]


def _region(box: Sequence[float], width: int, height: int) -> tuple[Point, ...]:
    left, top, wide, high = box
    x1, x2 = ((left + wide * n) / width for n in (-_MARGIN, 1 + _MARGIN))
    y1, y2 = ((top + high * n) / height for n in (-_MARGIN, 1 + _MARGIN))
    x1, x2, y1, y2 = (min(max(n, 0.0), 1.0) for n in (x1, x2, y1, y2))
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)
