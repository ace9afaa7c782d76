"""`snow-deploy publish`: releases for boxes, signed, in pieces, wave by wave."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import FILE, FiniteRange, json_option
from snow_deploy.cli.publish_options import (
    changing,
    draft_option,
    key_options,
    open_publication,
    per_role,
    rollout_lines,
    to_option,
    waiting_lines,
)
from snow_deploy.cli.publish_upkeep import key_group, prune_releases, refresh, sign_waiting
from snow_deploy.cli.status_options import boxes_of, names_statuses, status_options, statuses_of
from snow_deploy.cli.tables import megabytes
from snow_deploy.cli.try_graph import try_graph

if TYPE_CHECKING:
    from pathlib import Path


@click.group("publish")
def command() -> None:
    """Publish releases for boxes, which `agent` and `run --follow` take.

    A publication is a folder of plain files; copy it to any web server or bucket, or to a USB
    stick. Its metadata are those of The Update Framework (TUF).
    """


@command.command("init")
@to_option
@key_options
@click.option(
    "--count",
    "counts",
    metavar="ROLE=N",
    multiple=True,
    callback=per_role,
    help="How many keys a role gets: root, targets, snapshot or timestamp.  [default: 1 each]",
)
@click.option(
    "--threshold",
    "thresholds",
    metavar="ROLE=N",
    multiple=True,
    callback=per_role,
    help="How many of them have to sign.  [default: 1]",
)
@click.option(
    "--days",
    metavar="ROLE=N",
    multiple=True,
    callback=per_role,
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
    publication = open_publication(folder, keys)
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
@to_option
@key_options
@draft_option
@json_option
def add(name: str, folder: Path, waves: tuple[str, ...], *, as_json: bool, **given: Any) -> None:
    """Publish the release NAME, and begin its first wave.

    The graph and the readouts are tried here before, where ONNX Runtime is installed (extra cpu):
    what answers otherwise than when it was exported or fitted is not published.
    """
    from snow_deploy.fleet.make_release import ReleaseRequest, check_files, publish_release
    from snow_deploy.fleet.waves import parse_wave

    publication = open_publication(folder, given)
    request = ReleaseRequest(
        name=name,
        waves=tuple(map(parse_wave, waves)),
        **{each: given[each] for each in ("graph", "readouts", "config", "engine")},
        **{each: given[each] for each in ("budget_ms", "watch_s")},
    )
    check_files(request)
    try_graph(request.graph, request.readouts)
    with changing(publication):
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
    for line in rollout_lines(publication.rollout()):
        click.echo(line)


@command.command("wave")
@click.argument("step", type=click.Choice(["next", "pause", "resume", "abort", "rollback"]))
@status_options
@click.option("--force", is_flag=True, help="Go on whatever the boxes say.")
@click.option(
    "--expect",
    type=FILE,
    help="File of the ids of all boxes, a line each, with their tags behind them.",
)
@to_option
@key_options
@draft_option
def wave(step: str, folder: Path, *, force: bool, expect: Path | None, **given: Any) -> None:
    """Open the NEXT wave, PAUSE or RESUME, ABORT what has not begun, or ROLLBACK all boxes.

    The next wave waits until all boxes of the open ones tell that they have the release and do
    well. With --expect, those that never told anything are waited for too.
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
    publication = open_publication(folder, given)
    with changing(publication):
        rollout = publication.rollout()
        if step == "next" and not force:
            if not names_statuses(given):
                msg = (
                    "The next wave waits for the health of the boxes before it: give --status "
                    "FOLDER with their status.json files, --mqtt URL, or --force."
                )
                raise click.UsageError(msg)
            check_health(rollout, statuses_of(given), expected=boxes_of(expect))
        after = steps[step](rollout)
        publication.publish({ROLLOUT: after.to_json().encode()})
    for line in rollout_lines(after):
        click.echo(line)


@command.command("show")
@to_option
@json_option
def show_publication(folder: Path, *, as_json: bool) -> None:
    """Tell which releases there are, how far the rollout is, and what waits for signatures."""
    from snow_deploy.fleet.signatures import waiting

    publication = open_publication(folder, {"folders": (), "passphrase_file": None})
    rollout, releases = publication.rollout(), publication.releases()
    expiries = publication.expiries()
    if as_json:
        document = {
            "rollout": json.loads(rollout.to_json()),
            "releases": [{"name": each.name, "number": each.number} for each in releases],
            "expires": {role: expires.isoformat() for role, expires in expiries.items()},
            "waiting": [asdict(each) for each in waiting(publication)],
        }
        click.echo(json.dumps(document))
        return
    for line in rollout_lines(rollout):
        click.echo(line)
    for each in releases:
        size = megabytes(each.size_bytes)
        click.echo(f"{each.number:4}  {each.name}  {size}, published {each.created}")
    first = min(expiries, key=lambda role: expiries[role])
    click.echo(f"the {first} expires first, {expiries[first]:%Y-%m-%d %H:%M} UTC")
    for line in waiting_lines(publication):
        click.echo(line)


for each in (refresh, key_group, sign_waiting, prune_releases):
    command.add_command(each)
