"""The live page of `snow-deploy run`: pictures, answers, figures and switches in a browser.

A Starlette application that uvicorn serves from a thread of its own. It only looks at what the loop
left in :mod:`~snow_runtime.app.latest_frames` and :mod:`~snow_runtime.app.stats`. The import raises
MissingDependencyError where the libraries are not installed: only who serves a page needs them.
"""

from __future__ import annotations

from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

try:
    from snow_runtime.app.dashboard import Dashboard
    from snow_runtime.app.http.access import new_token
    from snow_runtime.app.http.limits import Limits
    from snow_runtime.app.http.options import ServingOptions
    from snow_runtime.app.page.server import PageServer
except ModuleNotFoundError as error:
    if (error.name or "").startswith("snow_runtime"):
        raise
    msg = (
        "Starlette, uvicorn and prometheus-client serve the live page, and "
        f"{error.name} is not installed; run: {pip_install('page')}"
    )
    raise MissingDependencyError(msg) from error

__all__ = ["Dashboard", "Limits", "PageServer", "ServingOptions", "new_token"]
