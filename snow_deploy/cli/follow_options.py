"""Options of a box that follows a publication, for `agent` and for `run --follow`.

They stand on the command line alone: what a box trusts is in no file that an update may bring.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any, Final

import click

from snow_deploy.cli.options import FILE, FOLDER, FiniteRange, all_of

if TYPE_CHECKING:
    from snow_runtime.update.agent_options import AgentOptions
    from snow_runtime.update.transport import Transport

FOLLOW_PARAMETERS: Final = (
    "follow",
    "box",
    "box_id",
    "box_tags",
    "box_root",
    "box_every",
    "box_hours",
    "box_rate",
    "box_ca",
)
_ID: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

follow_option = click.option(
    "--follow",
    metavar="PLACE",
    help="Take releases from this publication, https://HOST/PATH or a folder; see `agent`.",
)
box_options = all_of(
    click.option("--box", type=FOLDER, help="Folder for releases and for what is known."),
    click.option("--box-id", metavar="ID", help="Name of this box.  [default: the host's name]"),
    click.option(
        "--box-tag", "box_tags", metavar="TAG", multiple=True, help="Tag of this box, for waves."
    ),
    click.option(
        "--box-root",
        type=FILE,
        help="1.root.json of the publication, the first time: whom this box trusts.",
    ),
    click.option(
        "--box-every",
        type=FiniteRange(min=1),
        default=300.0,
        help="Seconds between two looks for a release.",
    ),
    click.option(
        "--box-hours", metavar="HH:MM-HH:MM", help="Download releases within these hours only."
    ),
    click.option(
        "--box-rate", metavar="RATE", help="Download no faster than 200kB or 1.5MB a second."
    ),
    click.option("--box-ca", type=FILE, help="Certificates (PEM) to trust of the server."),
)


def agent_options(given: dict[str, Any]) -> AgentOptions:
    """Return how a box is looked after.

    Args:
        given: Values of the options, by their names.

    Raises:
        InputError: An id, tag or hours are none.
        click.UsageError: The box has no folder.
    """
    from snow_runtime.errors import InputError
    from snow_runtime.update.agent_options import AgentOptions
    from snow_runtime.update.limits import Hours

    if given["box"] is None:
        msg = "A box needs a folder for releases; give --box FOLDER."
        raise click.UsageError(msg)
    name = given["box_id"] or socket.gethostname()
    for each in (name, *given["box_tags"]):
        if not re.fullmatch(_ID, each):
            msg = (
                f"{each!r} is no id or tag of a box, expected up to 64 letters, digits, '.', '_' "
                "and '-'. Give another with --box-id or --box-tag."
            )
            raise InputError(msg)
    hours = given["box_hours"]
    return AgentOptions(
        box=name,
        tags=tuple(given["box_tags"]),
        every_s=given["box_every"],
        hours=None if hours is None else Hours.parse(hours),
        root=given["box_root"],
    )


def transport_of(place: str, given: dict[str, Any]) -> Transport:
    """Open the publication.

    Raises:
        InputError: The place or the rate is none.
        MissingDependencyError: A library for it is not installed.
    """
    from snow_runtime.update.limits import RateLimit, parse_rate
    from snow_runtime.update.transport import open_transport

    rate = given["box_rate"]
    limit = RateLimit(None if rate is None else parse_rate(rate))
    return open_transport(place, limit, given["box_ca"])
