"""From an address to a camera."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snow_runtime.cameras.camera import Camera
from snow_runtime.cameras.clock import SYSTEM_CLOCK, Clock
from snow_runtime.cameras.options import CameraOptions
from snow_runtime.cameras.redaction import redact_uri
from snow_runtime.cameras.sources.csi_pipeline import csi_pipeline
from snow_runtime.cameras.sources.folder import FolderSource
from snow_runtime.cameras.sources.mjpeg import MjpegSource
from snow_runtime.cameras.sources.opencv_capture import Capture, CaptureSource
from snow_runtime.cameras.sources.synthetic import SyntheticSource
from snow_runtime.cameras.sources.video import VideoSource
from snow_runtime.cameras.sources.video_failure import Video
from snow_runtime.cameras.uri import (
    parse,
    parse_numeric_query,
    refuse_unescaped,
    rtsp_target,
)
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from snow_runtime.cameras.options import Mode
    from snow_runtime.cameras.sources.source import CameraSource
    from snow_runtime.cameras.uri import Address

_LIVE: Final = ("v4l2", "csi", "rtsp", "rtsps", "http", "https")
_SCHEMES: Final = (*_LIVE, "file", "folder", "synthetic")


def open_camera(
    uri: str | os.PathLike[str],
    *,
    mode: Mode | None = None,
    name: str | None = None,
    options: CameraOptions | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Camera:
    """Open a camera, a video file or a folder of pictures.

    =====================================  =======================================================
    address                                what it is
    =====================================  =======================================================
    ``PATH``, ``file:///PATH``             a video file; a plain path may also be that of a folder
                                           or a device; one in ``/dev/`` need not be there yet
    ``folder:PATH?fps=5``                  the pictures in a folder by their names; without a rate
                                           as fast as they are asked for
    ``v4l2:///dev/video0?width=640``       a USB or other V4L2 camera; also ``height``, ``fps`` and
                                           ``fourcc``, such as ``MJPG``
    ``csi://0?width=1280&height=720``      a CSI camera on Jetson; also ``fps`` and ``flip``
    ``rtsp://USER:PASSWORD@HOST/PATH``     a network camera
    ``http://USER:PASSWORD@HOST/PATH``     MJPEG over HTTP or HTTPS, with Basic or Digest
                                           authentication
    ``synthetic://?width=1280&fps=30``     pictures drawn here; also ``height`` and ``seed``;
                                           ``fps=0`` is as fast as they are asked for
    =====================================  =======================================================

    A camera that does not answer is no error: it is tried again until it does, or until
    ``options.attempts`` are used up; :attr:`Camera.status` says which.

    Args:
        uri: The address. Signs with a meaning of their own, such as ``@`` and ``/`` in a password,
            are written ``%40`` and ``%2F``.
        mode: ``newest`` drops frames that were not fetched in time, the default for cameras;
            ``every-frame`` hands out each, the default for files, folders and ``fps=0``. A file in
            mode ``newest`` runs at its own rate, like a camera.
        name: Name of the camera for messages, logs and frames; by default the address without its
            secrets.
        options: Time limits and bounds.
        clock: The time.

    Raises:
        CameraError: The address is malformed, or there is no such file or folder.
        MissingDependencyError: OpenCV is needed and not installed, or for a CSI camera built
            without GStreamer.
        ValueError: The mode is unknown.
    """
    text = os.fspath(uri)
    options = options or CameraOptions()
    address = _settle_path(parse(text))
    live = address.scheme in _LIVE
    probe = _source(address, options, clock, newest=mode == "newest")
    if isinstance(probe, SyntheticSource):
        live = probe.fps > 0
    mode = mode or ("newest" if live else "every-frame")
    newest = mode == "newest"
    if newest and not live and not isinstance(probe, VideoSource) and not probe.interval_s:
        msg = (
            f"Cannot open {address.text!r} in mode 'newest': it has no rate, expected ?fps=N with "
            "N above 0. Give one, or take mode 'every-frame'."
        )
        raise CameraError(msg)
    return Camera(
        lambda: _source(address, options, clock, newest=newest),
        name=name or address.text,
        mode=mode,
        live=live,
        options=options,
        uri=text,
        clock=clock,
    )


def check_address(uri: str) -> None:
    """Look whether an address is one, as far as its text says; what lies there is not looked at.

    Raises:
        CameraError: It is malformed, or of a kind that is not known.
    """
    address = parse(uri)
    if address.scheme in ("rtsp", "rtsps"):
        _stream(address, CameraOptions(), newest=True)
    elif address.scheme == "synthetic":
        SyntheticSource(address)
    elif address.scheme not in ("path", "file", "folder", "http", "https"):
        _captured(address, newest=True)


def _captured(address: Address, *, newest: bool) -> Capture:
    if address.scheme not in _CAPTURED:
        msg = (
            f"Cannot open the camera {address.text!r}: {address.scheme}:// is not known, expected "
            f"one of {', '.join(_SCHEMES)} or a path. Correct the address."
        )
        raise CameraError(msg)
    return _CAPTURED[address.scheme](address, newest=newest)


def _settle_path(address: Address) -> Address:
    """Turn a plain path into the scheme of what lies there."""
    if address.scheme != "path":
        return address
    path = Path(address.target)
    if path.is_dir():
        scheme = "folder"
    elif stat.S_ISCHR(path.stat().st_mode) if path.exists() else _is_for_devices(path):
        scheme = "v4l2"
    else:
        scheme = "file"
    return type(address)(scheme, address.target, {}, address.text)


def _is_for_devices(path: Path) -> bool:
    """Tell whether a path that does not exist is that of a camera not plugged in yet."""
    parents = Path(os.path.abspath(path)).parents  # noqa: PTH100 - not resolved
    return Path("/dev") in parents and Path("/dev/shm") not in parents  # noqa: S108 - not written


def _source(
    address: Address, options: CameraOptions, clock: Clock, *, newest: bool
) -> CameraSource:
    """Make a source; nothing is opened yet."""
    scheme = address.scheme
    if scheme == "folder":
        return FolderSource(address)
    if scheme == "synthetic":
        return SyntheticSource(address)
    if scheme in ("http", "https"):
        return MjpegSource(address, options, clock, newest=newest)
    if scheme in ("rtsp", "rtsps"):
        return VideoSource(_stream(address, options, newest=newest))
    if scheme == "file":
        return VideoSource(_file(address, options, newest=newest))
    return CaptureSource(_captured(address, newest=newest), gstreamer=scheme == "csi")


def _stream(address: Address, options: CameraOptions, *, newest: bool) -> Video:
    refuse_unescaped(address)
    return Video(
        rtsp_target(address),
        address.text,
        live=True,
        newest=newest,
        open_timeout_s=options.open_timeout_s,
        stall_s=options.stall_s,
        options={"rtsp_transport": "tcp"},  # over UDP, pictures would come with holes
    )


def _csi(address: Address, *, newest: bool) -> Capture:
    pipeline = csi_pipeline(address, newest=newest)
    return Capture(pipeline, address.text, "CAP_GSTREAMER", newest=newest)


def _device(address: Address, *, newest: bool) -> Capture:
    query = parse_numeric_query(
        address,
        {"width": (0, 16, 16384), "height": (0, 16, 16384), "fps": (0.0, 0.1, 1000)},
        "fourcc",
    )
    settings = {f"CAP_PROP_FRAME_{key.upper()}": query[key] for key in ("width", "height")}
    settings["CAP_PROP_FPS"] = query["fps"]
    settings = {name: value for name, value in settings.items() if value}
    fourcc = address.query.get("fourcc", "")
    if fourcc and not (len(fourcc) == 4 and fourcc.isascii()):
        msg = (
            f"Cannot open the camera {address.text!r}: its fourcc has {len(fourcc)} signs, "
            "expected four, such as MJPG or YUYV. Correct the address."
        )
        raise CameraError(msg)
    code = int.from_bytes(fourcc.encode("ascii"), "little")
    # The format first: it decides which sizes and rates there are.
    first = {"CAP_PROP_FOURCC": float(code)} if fourcc else {}
    queue = {"CAP_PROP_BUFFERSIZE": 1.0} if newest else {}
    return Capture(
        address.target,
        address.text,
        "CAP_V4L2",
        settings={**first, **settings, **queue},
        device=Path(address.target),
        newest=newest,
    )


def _file(address: Address, options: CameraOptions, *, newest: bool) -> Video:
    parse_numeric_query(address, {})  # a query has no meaning here
    if not Path(address.target).exists():
        msg = (
            f"Cannot open the camera {address.text!r}: there is no such file, expected a video, a "
            f"folder of pictures or an address that begins with {', '.join(_SCHEMES)}. "
            f"{_likely_meant(address.target)}."
        )
        raise CameraError(msg)
    return Video(
        str(Path(address.target).absolute()),  # FFmpeg takes `a:b.mp4` for a protocol named a
        address.text,
        live=False,
        newest=newest,
        open_timeout_s=options.open_timeout_s,
        stall_s=options.stall_s,
    )


def _likely_meant(path: str) -> str:
    """Advise on a path where nothing is: OpenCV counts cameras, and a scheme is soon forgotten."""
    if device := re.fullmatch(r"(?:video)?(\d{1,3})", path):
        return f"For a USB camera give /dev/video{device[1]}"
    if re.match(r"[\w.-]+(:\d+)?/|[\w.-]+:\d+$", path) and "." in path.partition("/")[0]:
        return f"For a network camera give its whole address, such as rtsp://{redact_uri(path)}"
    return "Check the path"


_CAPTURED: Final = {"csi": _csi, "v4l2": _device}
