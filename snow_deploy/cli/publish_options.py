"""Options of `publish`, and what all of its commands say."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from snow_deploy.cli.options import FILE, FOLDER, all_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_deploy.fleet.publication import Publication
    from snow_runtime.update.rollout import Rollout

ROLES = click.Choice(["root", "targets", "snapshot", "timestamp"])
_MOST_KEYS: Final = 99
_MOST_DAYS: Final = 36_500
to_option = click.option(
    "--to",
    "folder",
    type=FOLDER,
    default="publication",
    help="Folder of the publication, which a web server serves.",
)
key_options = all_of(
    click.option(
        "--keys",
        "folders",
        type=FOLDER,
        multiple=True,
        default=["keys"],
        help="Folder of keys; once for each. It is never served.",
    ),
    click.option(
        "--passphrase-file",
        type=FILE,
        help="File whose first line opens the keys.  [default: the variable SNOW_KEY_PASSPHRASE, "
        "or SNOW_KEY_PASSPHRASE_ROOT and so on]",
    ),
)

draft_option = click.option(
    "--draft",
    is_flag=True,
    help="Where more keys have to sign than lie here, let it wait for `publish sign`.",
)


def per_role(
    _context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, int]:
    """Read `ROLE=N` pairs."""
    found = {}
    for text in values:
        role, _, number = text.partition("=")
        most = _MOST_DAYS if parameter.name == "days" else _MOST_KEYS
        usable = role in ROLES.choices and number.isdecimal() and len(number) < 9
        if not usable or not 1 <= int(number) <= most:
            msg = f"{text!r} is none, expected a role and a number from 1 to {most}, as in root=2."
            raise click.BadParameter(msg, param=parameter)
        found[role] = int(number)
    return found


def open_publication(folder: Path, given: dict[str, Any]) -> Publication:
    """Open a publication with the keys that are given.

    Args:
        folder: Its folder.
        given: Values of the options, by their names.

    Raises:
        PublishError: Keys lie where they are served.
    """
    from snow_deploy.fleet.keys import KeyFolders, Signing, refuse_served
    from snow_deploy.fleet.publication import Publication

    keys = KeyFolders(tuple(map(Path, given["folders"])), given["passphrase_file"])
    secret = () if keys.passphrase_file is None else (keys.passphrase_file,)
    refuse_served(folder, (*keys.folders, *secret))
    return Publication(folder, Signing(keys, draft=given.get("draft", False)))


def waiting_lines(publication: Publication) -> Iterator[str]:
    """Tell what waits for signatures."""
    from snow_deploy.fleet.signatures import waiting

    for each in waiting(publication):
        yield f"version {each.version} of the {each.role} waits for {each.missing} more to sign:"
        yield from (f"  {line}" for line in each.changes)


def rollout_lines(rollout: Rollout) -> Iterator[str]:
    """Tell which release boxes are to have."""
    settled = rollout.settled or "no release"
    if rollout.coming is None:
        yield f"all boxes are to have {settled}"
        return
    waves = f"{rollout.open} of {len(rollout.waves)} waves"
    yield f"{rollout.coming} is {rollout.state}, {waves} open; the others have {settled}"


@contextmanager
def changing(publication: Publication, *, clock: bool = True, whole: bool = True) -> Iterator[None]:
    """Within it, a publication is changed by this process alone; what waits for others is said.

    Args:
        publication: The publication.
        clock: Whether the clock has to be right.
        whole: Whether boxes have to see what was signed last.

    Raises:
        PublishError: The clock here goes back behind what was signed by it, or a change was cut
            short.
    """
    from snow_deploy.fleet.errors import NotSignedYetError

    with publication.alone():
        if clock:
            publication.check_clock()
        if whole:
            publication.check_whole()
        try:
            yield
        except NotSignedYetError as error:
            click.echo(str(error))
            sys.exit(0)
