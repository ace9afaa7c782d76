"""The GStreamer pipeline of a CSI camera on Jetson."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snow_runtime.cameras.uri import parse_numeric_query
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from snow_runtime.cameras.uri import Address

_MOST_SENSORS: Final = 15
_QUERY: Final = {  # default, least, greatest
    "width": (1280, 16, 16384),
    "height": (720, 16, 16384),
    "fps": (30, 1, 1000),
    "flip": (0, 0, 7),
}


def csi_pipeline(address: Address, *, newest: bool) -> str:
    """Write the pipeline for ``csi://SENSOR?width=1280&height=720&fps=30&flip=0``.

    The image processor of the Jetson converts to BGRx in its own memory; the CPU drops the x.

    Args:
        address: The address; its query holds the size and the rate that the sensor has to know,
            and ``flip``, nvvidconv's flip-method: 2 turns the picture upside down.
        newest: Whether GStreamer is to throw away frames that nobody fetched.

    Raises:
        CameraError: The sensor's number, or a value of the query, is out of its range.
    """
    sensor = address.target.strip("/") or "0"
    if not (sensor.isascii() and sensor.isdigit() and int(sensor) <= _MOST_SENSORS):
        msg = (
            f"Cannot open the camera {address.text!r}: its sensor is {sensor!r}, expected a number "
            f"from 0 to {_MOST_SENSORS}, as in 'csi://0'. Correct the address."
        )
        raise CameraError(msg)
    query = parse_numeric_query(address, _QUERY)
    width, height, fps, flip = (int(query[key]) for key in ("width", "height", "fps", "flip"))
    # Turned by a quarter, the picture comes out as high as it was wide.
    out_width, out_height = (height, width) if flip in (1, 3, 5, 7) else (width, height)
    queue = "drop=true max-buffers=1" if newest else "drop=false max-buffers=4"
    return (
        f"nvarguscamerasrc sensor-id={int(sensor)} ! "
        f"video/x-raw(memory:NVMM), width=(int){width}, height=(int){height}, "
        f"framerate=(fraction){fps}/1 ! "
        f"nvvidconv flip-method={flip} ! "
        f"video/x-raw, width=(int){out_width}, height=(int){out_height}, format=(string)BGRx ! "
        "videoconvert ! video/x-raw, format=(string)BGR ! "
        f"appsink {queue} sync=false"
    )
