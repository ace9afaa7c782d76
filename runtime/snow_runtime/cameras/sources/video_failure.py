"""A video that FFmpeg is to open, and what to say where it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snow_runtime.cameras.sources.import_pyav import describe_av_error
from snow_runtime.cameras.sources.source import LostError, RefusedError
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Video:
    """What FFmpeg is to open.

    Attributes:
        target: A path or an address.
        text: The same as it may be shown.
        live: Whether it is a camera: its end is an outage then.
        newest: Whether old pictures are of no use.
        open_timeout_s: How long opening may take, in seconds.
        stall_s: How long the next picture may take, in seconds.
        options: FFmpeg's, by name.
    """

    target: str = field(repr=False)
    text: str
    live: bool
    newest: bool
    open_timeout_s: float
    stall_s: float
    options: Mapping[str, str] = field(default_factory=dict)


def failure(av: Any, video: Video, seen: Exception | str) -> CameraError:
    """Make the error that says why a video cannot be opened or read.

    Args:
        av: PyAV.
        video: What was to be opened.
        seen: What was raised, or what is wrong with it.
    """
    text = seen if isinstance(seen, str) else describe_av_error(seen)
    if not video.live:
        return CameraError(
            f"Cannot read the video {video.text!r}: {text}, expected a complete video "
            "file. Play it with another program, or convert it."
        )
    code = _code(av, seen)
    if code in (401, 403):
        return RefusedError(
            f"The camera {video.text!r} refuses access ({text}), expected user and "
            "password to be right. Correct them; signs such as @ and # are written %40 and "
            "%23.",
            password=code == 401,
            code=code,
        )
    if code == 404:
        text += ": it has no such stream"
    return LostError(
        f"The camera {video.text!r} gives no pictures: {text}, expected a stream. Look at "
        "its address, at the camera and at the network.",
        code=code,
    )


def _code(av: Any, seen: Exception | str) -> int | None:
    """Give what an RTSP server answered, as far as FFmpeg tells."""
    error = av.error
    codes = {
        error.HTTPBadRequestError: 400,
        error.HTTPUnauthorizedError: 401,
        error.HTTPForbiddenError: 403,
        error.HTTPNotFoundError: 404,
        error.HTTPServerError: 500,
    }
    return next((code for kind, code in codes.items() if isinstance(seen, kind)), None)
