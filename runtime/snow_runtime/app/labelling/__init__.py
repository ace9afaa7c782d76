"""The labelling page: pictures of a collection get labels, by several people at once.

The import raises MissingDependencyError where the libraries that serve it are not installed.
"""

from __future__ import annotations

from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

try:
    from snow_runtime.app.http.options import ServingOptions
    from snow_runtime.app.labelling.labelling import Labelling
    from snow_runtime.app.labelling.server import LabellingServer
except ModuleNotFoundError as error:
    if (error.name or "").startswith("snow_runtime"):
        raise
    msg = (
        f"Starlette and uvicorn serve the labelling page, and {error.name} is not installed; "
        f"run: {pip_install('page')}"
    )
    raise MissingDependencyError(msg) from error

__all__ = ["Labelling", "LabellingServer", "ServingOptions"]
