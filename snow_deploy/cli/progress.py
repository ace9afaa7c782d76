"""A bar on the terminal for long work: what is being done, and how much of the whole."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.progress import ProgressCallback

_STEPS = 1000
_WIDEST = 40  # characters of what is being done


@contextmanager
def progress_bar(label: str) -> Iterator[ProgressCallback | None]:
    """Show a bar on standard error; give None where that is no terminal.

    Args:
        label: What the whole is.
    """
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(
        length=_STEPS, label=label, file=sys.stderr, item_show_func=lambda it: it
    ) as bar:

        def show(phase: str, share: float) -> None:
            bar.update(max(0, round(share * _STEPS) - bar.pos), phase[:_WIDEST])

        yield show
