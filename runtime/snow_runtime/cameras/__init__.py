"""Cameras for an application that must not lag: the newest frame, through outages, counted.

>>> from snow_runtime import open_camera
>>> with open_camera("rtsp://user:password@camera/stream") as camera:  # doctest: +SKIP
...     for frame in camera:
...         result = model(frame.image, colour="bgr")

What each module holds::

    opening.py      from an address to a camera
    uri.py          an address in parts; redaction.py shows it without its secrets
    camera.py       what applications read from
    group.py        several cameras that one model serves
    frame.py        a picture with its number and times
    options.py, status.py, backoff.py, clock.py
    supervisor.py   keeps a camera connected
    pump.py         one thread that reads one connection
    mailbox.py      where frames wait for readers
    sources/        what gives the pictures: drawn, a folder, a video or RTSP, V4L2 and CSI, MJPEG
"""

from __future__ import annotations

from snow_runtime.cameras.backoff import Backoff
from snow_runtime.cameras.camera import Camera
from snow_runtime.cameras.clock import Instant
from snow_runtime.cameras.frame import Frame
from snow_runtime.cameras.group import CameraGroup
from snow_runtime.cameras.opening import open_camera
from snow_runtime.cameras.options import CameraOptions, Mode
from snow_runtime.cameras.redaction import redact_uri
from snow_runtime.cameras.sources.source import (
    BadPictureError,
    CameraPicture,
    CameraSource,
    LostError,
    RefusedError,
)
from snow_runtime.cameras.status import Counters, State, Status

__all__ = [
    "Backoff",
    "BadPictureError",
    "Camera",
    "CameraGroup",
    "CameraOptions",
    "CameraPicture",
    "CameraSource",
    "Counters",
    "Frame",
    "Instant",
    "LostError",
    "Mode",
    "RefusedError",
    "State",
    "Status",
    "open_camera",
    "redact_uri",
]
