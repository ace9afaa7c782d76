"""The newest picture of a camera as JPEG, made once for all who look."""

from __future__ import annotations

import asyncio
import io
import secrets
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.app.live import Live

_WIDTHS: Final = (160, 320, 480, 640, 960, 1280)
"""Viewers with screens of about one size share a picture."""
_NARROWER: Final = 0.8  # of what was asked for is still good enough
_LEAST_S: Final = 0.1
_QUALITY: Final = 80


@dataclass(frozen=True)
class Jpeg:
    """A picture for browsers.

    Attributes:
        data: the file.
        tag: another one for each picture, as HTTP writes an ETag.
    """

    data: bytes
    tag: str


@dataclass
class _Slot:
    """What was made last of one camera in one width.

    Attributes:
        source: the picture that it was made of, which it does not keep.
        made_at: when, on the monotonic clock.
        making: is under way.
    """

    jpeg: Jpeg | None = None
    source: weakref.ref[NDArray[np.uint8]] | None = None
    made_at: float = 0.0
    making: asyncio.Task[Jpeg] | None = None


class Pictures:
    """Makes JPEGs in a thread of its own, at most ten a second of each camera and width.

    Args:
        live: Where the pictures are.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._slots: dict[tuple[str, int], _Slot] = {}
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="snow-page-jpeg")
        self._start = secrets.token_hex(4)  # tags of an earlier server are not taken for ours
        self._made = 0

    async def newest(self, camera: str, width: int) -> Jpeg | None:
        """Give a camera's newest picture.

        Args:
            camera: Its name.
            width: Of the place where it will be shown, in pixels; it is made about as wide, and
                never wider than it is.

        Returns:
            The picture, at most a tenth of a second older than the newest; None where there is
            none.
        """
        image = self._live.picture(camera)
        if image is None:
            return None
        width = next((step for step in _WIDTHS if step >= _NARROWER * width), _WIDTHS[-1])
        slot = self._slots.setdefault((camera, width), _Slot())
        if slot.making is None:
            same = slot.source is not None and slot.source() is image
            if slot.jpeg and (same or time.monotonic() - slot.made_at < _LEAST_S):
                return slot.jpeg
            slot.making = asyncio.create_task(self._make(slot, image, width))
        return await asyncio.shield(slot.making)  # others may wait for it when this viewer leaves

    def close(self) -> None:
        """End the thread."""
        self._maker.shutdown(wait=True, cancel_futures=True)

    async def _make(self, slot: _Slot, image: NDArray[np.uint8], width: int) -> Jpeg:
        try:
            slot.made_at = time.monotonic()
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(self._maker, encode, image, width)
            self._made += 1
            slot.jpeg = Jpeg(data, f'"{self._start}-{self._made}"')
            slot.source = weakref.ref(image)
            return slot.jpeg
        finally:
            slot.making = None


def encode(image: NDArray[np.uint8], width: int) -> bytes:
    """Scale a picture down to a width and write it as JPEG.

    Args:
        image: uint8 `[H, W, 3]`, blue first.
        width: In pixels; a picture that is smaller stays as it is.
    """
    from PIL import Image

    H, W, _ = image.shape
    picture: Any = Image.fromarray(np.ascontiguousarray(image))  # its red is still our blue
    if width < W:
        size = width, max(1, round(H * width / W))
        picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
    blue, green, red = picture.split()
    file = io.BytesIO()
    Image.merge("RGB", (red, green, blue)).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
