"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

store_option = click.option(
    "--store",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default="store",
    show_default=True,
    help="Folder of the source and its tasks.",
)
