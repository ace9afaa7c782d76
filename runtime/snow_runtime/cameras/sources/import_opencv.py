"""OpenCV, imported where a camera needs it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from types import ModuleType


def load_cv2(*, gstreamer: bool = False) -> ModuleType:
    """Import OpenCV.

    Args:
        gstreamer: Whether it has to be built with GStreamer.

    Raises:
        MissingDependencyError: It is not installed, cannot be imported, or lacks GStreamer.
    """
    try:
        import cv2
    except ImportError as error:
        msg = (
            f"OpenCV reads this camera and cannot be imported: {error}. Install it: "
            f"{pip_install('camera')} (on Jetson: sudo apt install python3-opencv)."
        )
        raise MissingDependencyError(msg) from error
    module: ModuleType = cv2
    if gstreamer and not re.search(r"GStreamer: *YES", str(module.getBuildInformation())):
        msg = (
            f"A CSI camera is read through GStreamer, and this OpenCV ({module.__version__}) was "
            "built without it, as pip's is: expected JetPack's or Debian's. Install it: sudo apt "
            "install python3-opencv, in a virtual environment with --system-site-packages and "
            "without pip's OpenCV."
        )
        raise MissingDependencyError(msg)
    return module
