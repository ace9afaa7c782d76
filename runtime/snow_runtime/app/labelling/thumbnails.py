"""Pictures of a collection in the few widths that browsers show them in."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_WIDTHS: Final = (160, 240, 320, 480, 640, 960, 1280)
_QUALITY: Final = 80
_KEPT_BYTES: Final = 24 << 20


def width_for(wanted: int) -> int:
    """Return the width, of a few, that a picture is made in for a place of a width in pixels."""
    return next((width for width in _WIDTHS if width >= wanted), _WIDTHS[-1])


class Thumbnails:
    """Makes small pictures one at a time, and keeps those asked for last.

    Args:
        kept_bytes: How much is kept.
    """

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._most = kept_bytes
        self._bytes = 0
        self._lock = threading.Lock()  # one at a time: the loop needs the processor, too

    def get(self, sha256: str, width: int, read: Callable[[], bytes]) -> bytes:
        """Give a JPEG at most so wide.

        Args:
            sha256: SHA-256 of the picture's file.
            width: Width, one of those that :func:`width_for` gives.
            read: Function that gives the picture's file.

        Raises:
            OSError: The file cannot be decoded.
        """
        key = (sha256, width)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            made = scaled(read(), width)
            self._kept[key] = made
            self._bytes += len(made)
            while self._bytes > self._most and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
            return made


def scaled(jpeg: bytes, width: int) -> bytes:
    """Scale a JPEG file down to a width; one that is no wider stays as it is.

    Raises:
        OSError: It cannot be decoded.
    """
    from PIL import Image

    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as picture:
        if picture.width <= width:
            return jpeg
        height = max(1, round(picture.height * width / picture.width))
        picture.draft("RGB", (width, height))  # decodes a large one at half its size, or less
        small = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
