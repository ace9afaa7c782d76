"""Errors of the calibration.

SnowError                  (snow_runtime.errors; the command line catches this one)
└── CalibrationError       a graph, pictures or ranges that cannot give an INT8 graph
"""

from __future__ import annotations

from snow_runtime.errors import SnowError


class CalibrationError(SnowError):
    """A graph, pictures or ranges that cannot give an INT8 graph."""
