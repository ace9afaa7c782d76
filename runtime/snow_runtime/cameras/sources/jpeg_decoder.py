"""JPEG pictures decoded by a decoder that reports damaged data.

libjpeg fills what is missing with grey and only warns. OpenCV prints that warning and Pillow drops
it; simplejpeg, which is libjpeg-turbo too, raises it. What no decoder can see is damage that
decodes: coded data carry no checksum.
"""

from __future__ import annotations

import io
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The coded data were whole, and something stood behind them.
_SPARE: Final = re.compile(r"\b(\d+) extraneous bytes before marker 0xd9")
_MOST_SPARE_BYTES: Final = 64  # webcams fill up to the next word or line of a cache
_WINDOW: Final = 32  # pictures
_EXIF: Final = b"Exif\0\0"
_ORIENTATION: Final = 0x0112
_HEAD_BYTES: Final = 1 << 16  # where Exif data stand

_Outcome = Literal["whole", "spare", "damaged"]


class DamagedJpegError(Exception):
    """The decoder found damage; the text is its own."""


class JpegDecoder:
    """Decodes the pictures of one camera.

    Bytes too many behind the coded data are a habit of many webcams, whose pictures are whole; but
    they are also what is left over when damage made a decoder lose its step. So they are taken for
    a habit as long as they come often, and hardly any picture is damaged otherwise.

    Raises:
        MissingDependencyError: Simplejpeg is not installed.
    """

    def __init__(self) -> None:
        try:
            import simplejpeg
        except ImportError as error:
            msg = (
                f"simplejpeg decodes this camera's pictures and cannot be imported: {error}. "
                f"Install it: {pip_install('camera')} (on Jetson, beside its own OpenCV: "
                "pip install simplejpeg)."
            )
            raise MissingDependencyError(msg) from error
        self._decode: Any = simplejpeg.decode_jpeg
        self._outcomes: deque[_Outcome] = deque(maxlen=_WINDOW)

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Decode one picture: uint8 `[H, W, 3]`, blue first, upright as its Exif data say.

        Raises:
            DamagedJpegError: It is damaged, or none.
        """
        try:
            image = self._decode(data, colorspace="BGR")
        except ValueError as error:
            found = _SPARE.search(str(error))
            spare = found is not None and int(found[1]) <= _MOST_SPARE_BYTES
            self._outcomes.append("spare" if spare else "damaged")
            if not spare or not self._is_habit():
                raise DamagedJpegError(str(error).strip()) from None
            image = self._decode(data, colorspace="BGR", strict=False)
        else:
            self._outcomes.append("whole")
        return _upright(image, data)

    def _is_habit(self) -> bool:
        spare, damaged = self._outcomes.count("spare"), self._outcomes.count("damaged")
        often = len(self._outcomes) < _WINDOW or 4 * spare >= _WINDOW
        return often and 16 * damaged <= spare


def _upright(image: Any, data: bytes) -> NDArray[np.uint8]:
    """Turn a picture as its Exif data say, if it has any."""
    if _EXIF not in data[:_HEAD_BYTES]:
        bgr: NDArray[np.uint8] = image
        return bgr
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as opened:
            orientation = opened.getexif().get(_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError):  # the picture is fine, its description is not
        orientation = 1
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    turned: NDArray[np.uint8] = np.ascontiguousarray(image)
    return turned
