"""Errors of the exporter.

SnowError                  (snow_runtime.errors; the command line catches this one)
└── ExportError            a network that cannot become a graph, or a file that cannot be written
    ├── NoRuleError        the exporter has no rule for a layer or function; torch.onnx may write it
    └── ParityError        the written graph does not answer as the torch network does
"""

from __future__ import annotations

from snow_runtime.errors import SnowError


class ExportError(SnowError):
    """A network that cannot become a graph, or a graph that cannot be written."""


class NoRuleError(ExportError):
    """The exporter has no rule for a layer or function, or none for its options."""


class ParityError(ExportError):
    """The written graph does not answer as the torch network does."""
