"""The live page of `snow-deploy run`: pictures, answers, figures and switches in a browser.

One thread with an event loop serves all viewers, a second one makes JPEGs. Both only look at what
the loop left in :class:`~snow_runtime.app.live.Live` and :class:`~snow_runtime.app.stats.Stats`.
"""

from __future__ import annotations

from snow_runtime.app.page.access import new_token
from snow_runtime.app.page.limits import Limits
from snow_runtime.app.page.server import PageServer

__all__ = ["Limits", "PageServer", "new_token"]
