"""`snow-deploy publish`: what keeps a publication alive: refresh, keys, sign, prune."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import json_option
from snow_deploy.cli.publish_options import (
    ROLES,
    changing,
    draft_option,
    key_options,
    open_publication,
    to_option,
    waiting_lines,
)
from snow_deploy.cli.tables import megabytes

if TYPE_CHECKING:
    from pathlib import Path


@click.command("refresh")
@click.option(
    "--role",
    "roles",
    type=ROLES,
    multiple=True,
    default=["timestamp"],
    help="What to sign again; once for each.",
)
@to_option
@key_options
@draft_option
def refresh(folder: Path, roles: tuple[str, ...], **keys: Any) -> None:
    """Sign again what expires; every few days for the timestamp, by a timer."""
    publication = open_publication(folder, keys)
    with changing(publication, whole=False):
        publication.refresh(roles)
    for role, expires in publication.expiries().items():
        click.echo(f"{role}: until {expires:%Y-%m-%d %H:%M} UTC")


@click.group("keys")
def key_group() -> None:
    """Keys that sign a publication."""


@key_group.command("rotate")
@click.argument("role", type=ROLES)
@to_option
@key_options
@draft_option
def rotate(role: str, folder: Path, **keys: Any) -> None:
    """Give ROLE new keys in the place of all that it has. It takes the root keys."""
    publication = open_publication(folder, keys)
    with changing(publication, clock=False, whole=False):  # new keys have boxes forget a wrong one
        old = publication.rotate(role)
    click.echo(f"{role} has new keys. Those before sign nothing any more: {', '.join(old)}")


@click.command("sign")
@click.option("--discard", is_flag=True, help="Drop all that waits instead.")
@to_option
@key_options
def sign_waiting(folder: Path, *, discard: bool, **keys: Any) -> None:
    """Sign what others began with --draft, with your own keys.

    What enough have signed is published. `publish show` tells first what waits.
    """
    from snow_deploy.fleet import signatures

    publication = open_publication(folder, keys)
    with publication.alone():
        if discard:
            publication.signed.discard()
            click.echo("nothing waits any more")
            return
        publication.check_clock()
        for line in waiting_lines(publication):
            click.echo(line)
        for line in signatures.sign(publication):
            click.echo(line)


@click.command("prune")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    required=True,
    metavar="N",
    help="How many of the newest releases stay, beside those that boxes are to have.",
)
@to_option
@key_options
@draft_option
@json_option
def prune_releases(folder: Path, keep: int, *, as_json: bool, **keys: Any) -> None:
    """Take older releases off, with all files that no other release needs.

    On the web server delete them after metadata/timestamp.json was copied: `rsync --delete-after`.
    """
    from snow_deploy.fleet.prune import prune

    publication = open_publication(folder, keys)
    with changing(publication):
        done = prune(publication, keep)
    if as_json:
        facts = {"files": done.files, "size_bytes": done.size_bytes}
        click.echo(json.dumps({"releases": list(done.names), **facts}))
        return
    click.echo(f"taken off: {', '.join(done.names) or 'no release'}")
    click.echo(f"{done.files} files deleted, {megabytes(done.size_bytes)}")
