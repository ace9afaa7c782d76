"""`snow-deploy label`: the labelling page alone, on a collection without cameras or a model."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import FOLDER, is_typed, warn_of_secrets
from snow_deploy.cli.page_address import say_address, token_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@click.command("label")
@click.argument("folder", type=FOLDER)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    help="Serve the page here; 0 takes a port that is free.",
)
@click.option("--host", default="127.0.0.1", help="Address of the page.")
@click.option(
    "--token", envvar="SNOW_TOKEN", help="Of the page, or {file:PATH}; made up where one is needed."
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    metavar="NAME[:PORT]",
    multiple=True,
    help="Name of the page behind a proxy, as browsers show it; once for each.",
)
def command(
    folder: Path, port: int, host: str, token: str | None, allowed_hosts: tuple[str, ...]
) -> None:
    """Label the pictures of the collection in FOLDER in a browser.

    Nothing is fitted here: 'snow-deploy run --collect' does that, and serves the page too. Both may
    be at work on one collection. Ctrl-C and SIGTERM end it; each label is kept as it is given.
    """
    from snow_runtime.app.labelling import Labelling, LabellingServer, ServingOptions
    from snow_runtime.collection.collection import Collection
    from snow_runtime.secret_references import resolve_secrets

    warn_of_secrets([], typed=is_typed("token") and not (token or "").startswith("{"))
    given = token and resolve_secrets(token, escape=False)
    known = token_for(host, given)
    with Collection.open(folder) as collection:
        server = LabellingServer(
            Labelling(collection), ServingOptions(host, port, known, allowed_hosts)
        )
        with until_ended() as ended, server:
            say_address("labelling page", server, known, given, allowed_hosts)
            while not ended.wait(0.2):  # a signal is seen between two waits
                pass


@contextmanager
def until_ended() -> Iterator[threading.Event]:
    """Within it, SIGTERM and Ctrl-C set an event."""
    ended = threading.Event()

    def end(*_: Any) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
