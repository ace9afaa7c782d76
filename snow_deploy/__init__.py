"""Train SNOW multi-task CNNs and take them to a device."""

from __future__ import annotations

from snow_runtime._version import __version__

__all__ = ["__version__"]
