"""The live page of `snow-deploy run`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from snow_deploy.cli.page_address import say_address, token_for

if TYPE_CHECKING:
    from contextlib import ExitStack

    from snow_deploy.cli.run_options import RunOptions
    from snow_runtime.app.labelling import Labelling
    from snow_runtime.app.loop import Loop
    from snow_runtime.cameras import Camera


def serve_page(
    options: RunOptions,
    loop: Loop,
    cameras: list[Camera],
    stack: ExitStack,
    labelling: Labelling | None = None,
) -> None:
    """Serve the live page if `--port` asks for it, and say where."""
    if options.port is None:
        return
    from snow_runtime.app.page import PageServer

    token = token_for(options.host, options.token)
    server = stack.enter_context(
        PageServer(
            loop.live,
            loop.stats,
            lambda: {camera.name: camera_state(camera) for camera in cameras},
            lambda: loop.asked,
            labelling=labelling,
            host=options.host,
            port=options.port,
            token=token,
            allowed_hosts=options.allowed_hosts,
        )
    )
    say_address("live page", server, token, options.token, options.allowed_hosts)


def camera_state(camera: Camera) -> dict[str, Any]:
    """Return what the page and the metrics tell of a camera."""
    status = camera.status
    return {
        "state": status.state,
        "since_s": time.monotonic() - status.since.monotonic_s,
        "error": status.error,
        "code": status.code,
        "connected": int(status.state == "connected"),
        **asdict(camera.counters),
    }
