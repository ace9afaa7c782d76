"""`snow-deploy publish`: releases for boxes, signed, in pieces, wave by wave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import FILE, FOLDER, FiniteRange, all_of, json_option
from snow_deploy.cli.status_options import names_statuses, status_options, statuses_of
from snow_deploy.cli.tables import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_deploy.fleet.publication import Publication
    from snow_runtime.update.rollout import Rollout

_ROLES = click.Choice(["root", "targets", "snapshot", "timestamp"])
_to_option = click.option(
    "--to",
    "folder",
    type=FOLDER,
    default="publication",
    help="Folder of the publication, which a web server serves.",
)
_key_options = all_of(
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


def _per_role(
    _context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, int]:
    """Read `ROLE=N` pairs."""
    found = {}
    for text in values:
        role, _, number = text.partition("=")
        if role not in _ROLES.choices or not number.isdecimal() or not int(number):
            msg = f"{text!r} is none, expected a role and a number of 1 or more, as in root=2."
            raise click.BadParameter(msg, param=parameter)
        found[role] = int(number)
    return found


@click.group("publish")
def command() -> None:
    """Publish releases for boxes, which `agent` and `run --follow` take.

    A publication is a folder of plain files; copy it to any web server or bucket, or to a USB
    stick. Its metadata are those of The Update Framework (TUF).
    """


@command.command("init")
@_to_option
@_key_options
@click.option(
    "--count",
    "counts",
    metavar="ROLE=N",
    multiple=True,
    callback=_per_role,
    help="How many keys a role gets: root, targets, snapshot or timestamp.  [default: 1 each]",
)
@click.option(
    "--threshold",
    "thresholds",
    metavar="ROLE=N",
    multiple=True,
    callback=_per_role,
    help="How many of them have to sign.  [default: 1]",
)
@click.option(
    "--days",
    metavar="ROLE=N",
    multiple=True,
    callback=_per_role,
    help="How long signatures are valid.  [default: root 730, targets and snapshot 365, timestamp "
    "14]",
)
def init(
    folder: Path,
    counts: dict[str, int],
    thresholds: dict[str, int],
    days: dict[str, int],
    **keys: Any,
) -> None:
    """Make keys, and begin a publication."""
    publication = _publication(folder, keys)
    with publication.alone():
        publication.create(counts, thresholds, days)
    click.echo(f"{folder} is a publication. Keys of their own for each role: {keys['folders'][0]}")
    click.echo("Keep the root keys offline. Give 1.root.json to each box by a way that you trust:")
    click.echo(f"{publication.metadata / '1.root.json'}")


@command.command("add")
@click.argument("name")
@click.option("--graph", type=FILE, required=True, help="The graph.")
@click.option(
    "--readout",
    "readouts",
    type=FILE,
    multiple=True,
    help="A readout for the graph; once for each.",
)
@click.option("--config", type=FILE, help="A configuration file of `run`.")
@click.option(
    "--engine",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Have each box build an engine of this precision from the graph.",
)
@click.option(
    "--budget",
    "budget_ms",
    metavar="MS",
    type=FiniteRange(min=0, min_open=True),
    help="Boxes refuse the release, or go back, where an answer takes longer.",
)
@click.option(
    "--watch",
    "watch_s",
    metavar="S",
    type=FiniteRange(min=0),
    default=600.0,
    help="Seconds for which a box watches it before it counts as good.",
)
@click.option(
    "--wave",
    "waves",
    metavar="WAVE",
    multiple=True,
    help="Boxes that get it together: 10%, tag:NAME, box:ID, or some with commas; once for each "
    "wave. The rest follow in one more.  [default: all at once]",
)
@_to_option
@_key_options
@json_option
def add(name: str, folder: Path, waves: tuple[str, ...], *, as_json: bool, **given: Any) -> None:
    """Publish the release NAME, and begin its first wave."""
    from snow_deploy.fleet.make_release import ReleaseRequest, publish_release
    from snow_deploy.fleet.waves import parse_wave

    publication = _publication(folder, given)
    request = ReleaseRequest(
        name=name,
        waves=tuple(map(parse_wave, waves)),
        **{each: given[each] for each in ("graph", "readouts", "config", "engine")},
        **{each: given[each] for each in ("budget_ms", "watch_s")},
    )
    with publication.alone():
        done = publish_release(publication, request)
    if as_json:
        facts = {"name": name, "number": done.release.number, "pieces": len(done.release.pieces)}
        sizes = {"new_bytes": done.new_bytes, "whole_bytes": done.whole_bytes}
        click.echo(json.dumps({**facts, **sizes}))
        return
    number, pieces = done.release.number, len(done.release.pieces)
    less = f"a box that has the one before downloads {megabytes(done.new_bytes)}, "
    click.echo(
        f"{name} is release {number}: {pieces} pieces; {less if number > 1 else ''}a new one "
        f"downloads {megabytes(done.whole_bytes)}"
    )
    for line in _rollout_lines(publication.rollout()):
        click.echo(line)


@command.command("refresh")
@click.option(
    "--role",
    "roles",
    type=_ROLES,
    multiple=True,
    default=["timestamp"],
    help="What to sign again; once for each.",
)
@_to_option
@_key_options
def refresh(folder: Path, roles: tuple[str, ...], **keys: Any) -> None:
    """Sign again what expires; every few days for the timestamp, by a timer."""
    publication = _publication(folder, keys)
    with publication.alone():
        publication.refresh(roles)
    for role, expires in publication.expiries().items():
        click.echo(f"{role}: until {expires:%Y-%m-%d %H:%M} UTC")


@command.group("keys")
def key_group() -> None:
    """Keys that sign a publication."""


@key_group.command("rotate")
@click.argument("role", type=_ROLES)
@_to_option
@_key_options
def rotate(role: str, folder: Path, **keys: Any) -> None:
    """Give ROLE new keys in the place of all that it has. It takes the root keys."""
    publication = _publication(folder, keys)
    with publication.alone():
        old = publication.rotate(role)
    click.echo(f"{role} has new keys. Those before sign nothing any more: {', '.join(old)}")


@command.command("wave")
@click.argument("step", type=click.Choice(["next", "pause", "resume", "abort", "rollback"]))
@status_options
@click.option("--force", is_flag=True, help="Go on whatever the boxes say.")
@_to_option
@_key_options
def wave(step: str, folder: Path, *, force: bool, **given: Any) -> None:
    """Open the NEXT wave, PAUSE or RESUME, ABORT what has not begun, or ROLLBACK all boxes.

    The next wave waits until all boxes of the open ones tell that they have the release and do
    well.
    """
    from snow_deploy.fleet import waves
    from snow_deploy.fleet.wave_health import check_health
    from snow_runtime.update.wanted import ROLLOUT

    steps = {
        "next": waves.go_on,
        "pause": waves.pause,
        "resume": waves.resume,
        "abort": waves.abort,
        "rollback": waves.roll_back,
    }
    publication = _publication(folder, given)
    with publication.alone():
        rollout = publication.rollout()
        if step == "next" and not force:
            if not names_statuses(given):
                msg = (
                    "The next wave waits for the health of the boxes before it: give --status "
                    "FOLDER with their status.json files, --mqtt URL, or --force."
                )
                raise click.UsageError(msg)
            check_health(rollout, statuses_of(given))
        after = steps[step](rollout)
        publication.publish({ROLLOUT: after.to_json().encode()})
    for line in _rollout_lines(after):
        click.echo(line)


@command.command("show")
@_to_option
@json_option
def show_publication(folder: Path, *, as_json: bool) -> None:
    """Tell which releases there are, and how far the rollout is."""
    publication = _publication(folder, {"folders": (), "passphrase_file": None})
    rollout, releases = publication.rollout(), publication.releases()
    expiries = publication.expiries()
    if as_json:
        document = {
            "rollout": json.loads(rollout.to_json()),
            "releases": [{"name": each.name, "number": each.number} for each in releases],
            "expires": {role: expires.isoformat() for role, expires in expiries.items()},
        }
        click.echo(json.dumps(document))
        return
    for line in _rollout_lines(rollout):
        click.echo(line)
    for each in releases:
        size = megabytes(each.size_bytes)
        click.echo(f"{each.number:4}  {each.name}  {size}, published {each.created}")
    first = min(expiries, key=lambda role: expiries[role])
    click.echo(f"the {first} expires first, {expiries[first]:%Y-%m-%d %H:%M} UTC")


def _publication(folder: Path, keys: dict[str, Any]) -> Publication:
    from snow_deploy.fleet.keys import KeyFolders
    from snow_deploy.fleet.publication import Publication

    return Publication(
        folder, KeyFolders(tuple(map(Path, keys["folders"])), keys["passphrase_file"])
    )


def _rollout_lines(rollout: Rollout) -> Iterator[str]:
    settled = rollout.settled or "no release"
    if rollout.coming is None:
        yield f"all boxes are to have {settled}"
        return
    waves = f"{rollout.open} of {len(rollout.waves)} waves"
    yield f"{rollout.coming} is {rollout.state}, {waves} open; the others have {settled}"
