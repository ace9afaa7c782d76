"""Every error that the toolchain raises on purpose descends from :class:`SnowError`.

::

    SnowError
    ├── GraphError              a graph that cannot be used: missing, corrupt, foreign, closed
    │   ├── ManifestError       a manifest that is malformed, or that its graph contradicts
    │   ├── HalfError           a value of a graph that half precision cannot hold
    │   └── RemoteError         a server that cannot be asked, or answers nonsense
    ├── EngineError             an engine that cannot be built or loaded
    │   └── BuiltElsewhereError an engine made for another TensorRT, GPU or machine
    ├── ReadoutError            a readout that cannot be read, fitted or used on this graph
    ├── CameraError             a camera that cannot be opened, or stopped for good
    ├── ScoreError              a scoring job that cannot be begun or go on (in score.errors)
    ├── BenchError              a measurement that cannot be made as asked for (in bench.errors)
    ├── CollectionError         a collection of pictures that cannot be opened, read or written
    ├── FitError                a readout cannot be fitted on these pictures
    ├── InputError              an image that cannot be read, or of the wrong shape or dtype
    └── MissingDependencyError  an optional dependency is not installed

A message says what went wrong, what was seen against what was expected, and what to do.
"""

from __future__ import annotations


class SnowError(Exception):
    """The root of all errors raised on purpose by snow-deploy."""


class GraphError(SnowError):
    """A graph cannot be used: missing, corrupt, foreign, closed, or computing nonsense."""


class ManifestError(GraphError):
    """A manifest is malformed, or says something else than the graph that carries it.

    Args:
        message: What to tell the user.
        finding: What was seen against what was expected, for another document's message.
    """

    def __init__(self, message: str, finding: str = "") -> None:
        super().__init__(message)
        self.finding = finding or message


class HalfError(GraphError):
    """A weight, or a value on real pictures, is beyond what half precision can hold."""


class RemoteError(GraphError):
    """A server cannot be reached, is late, lacks the model, or does not answer as it must."""


class EngineError(SnowError):
    """An engine cannot be built, or its file cannot be loaded: missing, damaged, swapped."""


class BuiltElsewhereError(EngineError):
    """An engine is whole, but made for another TensorRT, GPU or machine: build it here."""


class ReadoutError(SnowError):
    """A readout cannot be read, cannot be fitted, or does not fit the graph that it is for."""


class CameraError(SnowError):
    """A camera, video or folder cannot be opened, or gives no more pictures."""


class InputError(SnowError):
    """An image cannot be read, or an array has the wrong shape, dtype or range."""


class CollectionError(SnowError):
    """A collection of pictures cannot be opened, read or written, or lacks what is asked for."""


class FitError(SnowError):
    """A readout cannot be fitted: too few pictures, a label on one of them, features of NaN."""


class MissingDependencyError(SnowError):
    """An optional dependency is not installed; the message holds the pip command."""
