"""Errors of the exporter.

SnowError                  (snow_runtime.errors; the command line catches this one)
└── ExportError            a network that cannot become a graph, or a file that cannot be written
    └── ParityError        the written graph does not answer as the torch network does
"""

from __future__ import annotations

from snow_runtime.errors import SnowError


class ExportError(SnowError):
    """A network that cannot become a graph, or a graph that cannot be written."""


class ParityError(ExportError):
    """The written graph does not answer as the torch network does."""
