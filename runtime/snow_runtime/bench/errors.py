"""What can go wrong with a measurement; everything else is the runtime's own."""

from __future__ import annotations

from snow_runtime.errors import SnowError


class BenchError(SnowError):
    """A measurement cannot be made as it was asked for."""
