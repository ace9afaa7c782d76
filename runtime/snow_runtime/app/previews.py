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

    from snow_runtime.app.latest_frames import LatestFrames

_WIDTHS: Final = (160, 320, 480, 640, 960, 1280)
"""Viewers with screens of about one size share a picture."""
_NARROWER: Final = 0.8  # of what was asked for is still good enough
_LEAST_S: Final = 0.1
_QUALITY: Final = 80


@dataclass(frozen=True)
class Preview:
    """A picture for browsers.

    Attributes:
        data: The file.
        tag: Text that differs for each picture, as HTTP writes an ETag.
    """

    data: bytes
    tag: str


@dataclass(frozen=True)
class _Made:
    """What was made last of one camera in one width, or is being made.

    Attributes:
        jpeg: The picture.
        source: What it was made of, which it does not keep.
        begun_s: When, on the monotonic clock.
    """

    jpeg: asyncio.Future[Preview]
    source: weakref.ref[NDArray[np.uint8]]
    begun_s: float

    def serves(self, image: NDArray[np.uint8]) -> bool:
        """Tell whether it is good enough for whoever wants to see a newer picture."""
        soon = time.monotonic() - self.begun_s < _LEAST_S
        return not self.jpeg.done() or self.source() is image or soon


class Previews:
    """Makes JPEGs in a thread of its own, at most ten a second of each camera and width.

    Args:
        live: The frames that the previews are made of.
    """

    def __init__(self, live: LatestFrames) -> None:
        self._live = live
        self._made: dict[tuple[str, int], _Made] = {}
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="snow-page-jpeg")

    async def newest(self, camera: str, width: int) -> Preview | None:
        """Give a camera's newest picture.

        Args:
            camera: Its name.
            width: Width of the place where it will be shown, in pixels; it is made about as wide,
                and never wider than it is.

        Returns:
            The picture, at most a tenth of a second older than the newest; None where there is
            none.
        """
        image = self._live.picture(camera)
        if image is None:
            return None
        width = next((step for step in _WIDTHS if step >= _NARROWER * width), _WIDTHS[-1])
        made = self._made.get((camera, width))
        if made is None or not made.serves(image):
            loop = asyncio.get_running_loop()
            jpeg = loop.run_in_executor(self._maker, _make, image, width)
            made = _Made(jpeg, weakref.ref(image), time.monotonic())
            self._made[camera, width] = made
        return await asyncio.shield(made.jpeg)  # others may wait for it when this viewer leaves

    def close(self) -> None:
        """End the thread."""
        self._maker.shutdown(wait=True, cancel_futures=True)


def _make(image: NDArray[np.uint8], width: int) -> Preview:
    return Preview(encode(image, width), f'"{secrets.token_hex(8)}"')


def encode(image: NDArray[np.uint8], width: int) -> bytes:
    """Scale a picture down to a width and write it as JPEG.

    Args:
        image: uint8 `[H, W, 3]`, blue first.
        width: Width in pixels; a picture that is smaller stays as it is.
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
