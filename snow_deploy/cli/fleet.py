"""`snow-deploy fleet`: how all boxes do, as a table, as JSON, and as a page."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import FILE, json_option
from snow_deploy.cli.status_options import boxes_of, status_options, statuses_of
from snow_deploy.cli.tables import columns, one_line

if TYPE_CHECKING:
    from pathlib import Path


@click.command("fleet")
@status_options
@click.option(
    "--expect",
    type=FILE,
    help="File of the ids of all boxes, a line each: one that never told anything is listed too.",
)
@click.option("--page", "page_file", type=FILE, help="Write the table to this HTML file.")
@json_option
def command(expect: Path | None, page_file: Path | None, *, as_json: bool, **given: Any) -> None:
    """Tell what each box runs, how it does, and which have not come back.

    The exit code is 1 where a box does not do well.
    """
    from snow_deploy.fleet.overview import overview, page, table_rows
    from snow_runtime.files import atomic_write

    rows = overview(statuses_of(given), boxes_of(expect))
    if page_file is not None:
        with atomic_write(page_file, "w") as stream:
            stream.write(page(rows))
    if as_json:
        click.echo(json.dumps([row.to_dict() for row in rows]))
    else:
        cells = [tuple(map(one_line, each)) for each in table_rows(rows)]
        for line in columns(cells, left=len(cells[0])):
            click.echo(line)
        click.echo(f"{sum(row.well for row in rows)} of {len(rows)} boxes do well")
    if not all(row.well for row in rows):
        sys.exit(1)
