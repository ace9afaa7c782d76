"""PyAV, Python's hold on FFmpeg, imported where a camera needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from types import ModuleType


def load_av() -> ModuleType:
    """Import PyAV. Its FFmpeg writes no log: that would show addresses.

    Raises:
        MissingDependencyError: It is not installed, or cannot be imported.
    """
    try:
        import av
    except ImportError as error:
        msg = (
            f"PyAV reads videos and RTSP cameras and cannot be imported: {error}. Install it: "
            f"{pip_install('camera')}."
        )
        raise MissingDependencyError(msg) from error
    module: ModuleType = av
    return module


def describe_av_error(error: Exception) -> str:
    """Say what went wrong in FFmpeg, without the address that its own text holds."""
    if type(error).__name__ == "ExitError":  # PyAV ends a call that takes too long by this
        return "it took too long"
    return str(getattr(error, "strerror", None) or type(error).__name__)
