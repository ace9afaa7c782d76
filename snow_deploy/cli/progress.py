"""A bar on the terminal for work that tells what it is at, and how much of the whole is done."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STEPS = 1000
_WIDEST = 40  # characters of what is being done


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[str, float], None] | None]:
    """Show a bar on standard error; give nothing to tell where that is no terminal.

    Args:
        label: What the whole is.
    """
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(
        length=_STEPS, label=label, file=sys.stderr, item_show_func=lambda it: it
    ) as bar:

        def told(phase: str, share: float) -> None:
            bar.update(max(0, round(share * _STEPS) - bar.pos), phase[:_WIDEST])

        yield told
