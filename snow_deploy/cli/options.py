"""Options, and kinds of them, that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

store_option = click.option(
    "--store",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default="store",
    show_default=True,
    help="Folder of the source and its tasks.",
)


class FiniteRange(click.FloatRange):
    """A number between bounds, which is one: NaN is neither below nor above any, nor infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it; an error of usage says what is wrong."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return found
