"""What a camera's thread needs of the thing that takes the pictures.

Applications may write a source of their own, for a camera with its own library, and give
:class:`snow_runtime.cameras.Camera` a function that makes one. A new source is made for every
connection; all but :meth:`Source.interrupt` is called by one thread.

Axes: H, W height and width of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.cameras.clock import Instant


class LostError(CameraError):
    """The connection is gone, or could not be made: trying again may help.

    Args:
        message: What to tell the user.
        code: What the camera answered instead of pictures, as HTTP and RTSP count: 404 for what it
            has not; None if it answered nothing.
    """

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class RefusedError(CameraError):
    """The camera refuses access; asking often, with the same password, may lock the account.

    It is an outage with long pauses between the attempts: cameras refuse while they start, or
    while they serve as many as they can.

    Args:
        message: What to tell the user.
        password: Whether it refuses the user and password. Then a camera that has never given a
            picture is not asked again.
        code: What it answered, as HTTP and RTSP count: 401 or 403.
    """

    def __init__(self, message: str, *, password: bool = False, code: int | None = None) -> None:
        super().__init__(message)
        self.password = password
        self.code = code


class BadPictureError(CameraError):
    """One picture could not be read; the ones after it may be fine.

    Args:
        message: What to tell the user.
        skipped: Older pictures that the source passed over before it.
    """

    def __init__(self, message: str, *, skipped: int = 0) -> None:
        super().__init__(message)
        self.skipped = skipped


@dataclass(frozen=True, slots=True, eq=False)
class CameraPicture:
    """What one read of a source gave.

    Attributes:
        image: uint8 `[H, W, 3]`, blue first; a new array for every picture.
        number: The source's own count, if it has one. A picture with the number of the one before
            is that one again, and no new picture.
        at: Time when it was here in full; None: at the end of the read.
        skipped: Older pictures that the source passed over to give this one.
        coded: The picture as the camera sent it, where that is at hand. With the same bytes as the
            one before it is no new picture.
    """

    image: NDArray[np.uint8]
    number: int | None = None
    at: Instant | None = None
    skipped: int = 0
    coded: bytes | None = None


class CameraSource(Protocol):
    """One connection to a camera, or one pass through a file."""

    @property
    def interval_s(self) -> float:
        """Seconds from one picture to the next, for a source that must be slowed down; else 0."""

    def open(self) -> None:
        """Connect.

        Raises:
            LostError: It did not work now, and may later.
            RefusedError: It may work later, if it is tried rarely.
            CameraError: It will not work later either.
        """

    def read(self) -> CameraPicture | None:
        """Wait for the next picture; None at the end.

        Raises:
            BadPictureError: This picture is damaged; the next may be fine.
            LostError: The connection is gone.
            CameraError: As for :meth:`open`.
        """

    def interrupt(self) -> None:
        """Let ``open`` and ``read`` in the other thread end soon, where that can be done.

        Called once, from another thread, at any time after the source was made.
        """

    def close(self) -> None:
        """Let go of everything, also after an :meth:`open` that failed."""


def as_bgr(image: Any, what: str) -> NDArray[np.uint8]:
    """Give a decoder's result as uint8 `[H, W, 3]`, or say that it decoded nothing.

    Args:
        image: `[H, W]`, `[H, W, 1]`, `[H, W, 3]` or `[H, W, 4]`, blue first; or anything else.
        what: Name of what gave the picture, for the message.

    Raises:
        BadPictureError: There are no pixels, or none of 8 bits.
    """
    if isinstance(image, np.ndarray) and image.ndim == 2:
        image = image[..., np.newaxis]
    usable = (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.size > 0
        and image.shape[2] in (1, 3, 4)
    )
    if not usable:
        seen = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else "nothing"
        msg = (
            f"{what} gave a picture that cannot be used: {seen}, expected uint8 [H, W, 3]. "
            "Choose another pixel format in the camera's settings."
        )
        raise BadPictureError(msg)
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    bgr: NDArray[np.uint8] = np.ascontiguousarray(image[..., :3])
    return bgr
