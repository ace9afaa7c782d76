"""Where a page is served, and the token that its address may need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import click

from snow_deploy.cli.options import refuse_without

if TYPE_CHECKING:
    from collections.abc import Sequence


class ServedPage(Protocol):
    """A page that is served."""

    @property
    def url(self) -> str:
        """The page's address, without the token."""
        ...

    @property
    def entry_url(self) -> str:
        """The address to open first, with the token if there is one."""
        ...


def check_page(port: int | None) -> None:
    """Check that a page is served where it has options.

    Raises:
        click.UsageError: None is.
    """
    if port is None:
        refuse_without("--port", ("host", "token", "allowed_hosts"))


def check_access(host: str, token: str | None, allowed_hosts: tuple[str, ...]) -> None:
    """Look whether a page's token and its other names are fit; a secret may be anything.

    Raises:
        InputError: One is not.
    """
    from snow_runtime.secret_references import stand_in

    try:
        from snow_runtime.app.http.access import Access
    except ImportError:  # the page is served elsewhere
        return
    if token is None or stand_in(token) == token:
        Access(host, token_for(host, token), allowed_hosts)


def token_for(host: str, given: str | None) -> str | None:
    """Return the token that was given, or one where the address needs one; None for none."""
    from snow_runtime.app.page import new_token

    loopback = host in ("127.0.0.1", "::1", "localhost")
    return given or (None if loopback else new_token())


def say_address(
    what: str,
    server: ServedPage,
    token: str | None,
    given: str | None,
    allowed_hosts: Sequence[str],
) -> None:
    """Say on standard error where a page is, with a token that was made up for it.

    Args:
        what: What it is called.
        server: The page.
        token: Its token; None for none.
        given: The token that the user gave, which is not shown.
        allowed_hosts: Names of the page behind a proxy.
    """
    click.echo(f"{what}: {server.entry_url if token and not given else server.url}", err=True)
    if allowed_hosts and token is None:
        click.echo(
            "note: the page has no token; whoever reaches the proxy sees it and uses its switches. "
            "Give --token, or let the proxy ask for a password.",
            err=True,
        )
