"""OpenCV, PyAV and the cameras that the system offers."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from snow_runtime.doctor.findings import Finding
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.doctor.findings import Machine, Need

_OPENCVS: Final = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


def check_opencv(machine: Machine) -> Iterator[Finding]:
    """Look for OpenCV, and whether it was built with GStreamer."""
    installed = sorted(set(machine.versions()) & set(_OPENCVS))
    if len(installed) > 1:
        yield Finding(
            "OpenCV",
            "problem",
            f"{' and '.join(installed)} are installed together, and share one folder",
            f"pip uninstall -y {' '.join(installed)} && {pip_install('camera')}",
            ("opencv", "gstreamer"),
        )
    try:
        cv2 = machine.load("cv2")
        information = str(cv2.getBuildInformation())
    except Exception as error:  # noqa: BLE001 - a missing libGL comes as ImportError, others do not
        fix = f"{pip_install('camera')}; on Jetson: sudo apt install python3-opencv"
        yield _not_imported("OpenCV", "cv2", error, fix, ("opencv", "gstreamer"))
        return
    yield Finding("OpenCV", "ok", str(cv2.__version__), serves=("opencv",))
    line = re.search(r"GStreamer: *(\w+)(?: *\(([\d.]+)\))?", information)
    if line is not None and line[1] == "YES":
        version = f" {line[2]}" if line[2] else ""
        yield Finding("GStreamer", "ok", f"OpenCV has it{version}", serves=("gstreamer",))
    else:
        yield Finding(
            "GStreamer",
            "absent",
            "this OpenCV was built without it, as pip's wheels are: no CSI camera can be opened",
            "sudo apt install python3-opencv, in a virtual environment with --system-site-packages "
            "and without pip's OpenCV",
            ("gstreamer",),
        )


def check_pyav(machine: Machine) -> Iterator[Finding]:
    """Look for PyAV, by which videos and RTSP cameras are read."""
    try:
        av = machine.load("av")
    except Exception as error:  # noqa: BLE001 - as for OpenCV
        yield _not_imported("PyAV", "av", error, pip_install("camera"), ("video",))
        return
    yield Finding("PyAV", "ok", f"{av.__version__}, reads videos and RTSP", serves=("video",))


def _not_imported(
    topic: str, module: str, error: Exception, fix: str, serves: tuple[Need, ...]
) -> Finding:
    if isinstance(error, ModuleNotFoundError) and error.name == module:
        return Finding(topic, "absent", "is not installed", fix, serves)
    return Finding(topic, "problem", f"cannot be imported ({str(error)[:200]})", fix, serves)


def check_cameras(machine: Machine) -> Iterator[Finding]:
    """Look for V4L2 devices, and whether this user may read them."""
    devices = sorted((machine.root / "dev").glob("video*"))
    if not devices:
        yield Finding(
            "camera",
            "absent",
            "there is no /dev/video*",
            "plug one in; in a container: pass it with --device /dev/video0",
            ("camera",),
        )
    for device in devices:
        name = machine.text(f"sys/class/video4linux/{device.name}/name")
        shown = f"/dev/{device.name}" + (f" ({name})" if name else "")
        if os.access(device, os.R_OK | os.W_OK):
            yield Finding("camera", "ok", shown, serves=("camera",))
        else:
            yield Finding(
                "camera",
                "problem",
                f"{shown} cannot be opened by this user",
                "sudo usermod -aG video $USER, then log in again",
                ("camera",),
            )
