"""How far a scoring job is, on standard error: a line that changes, or one now and then."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_ON_TERMINAL_S: Final = 0.2
_IN_LOG_S: Final = 30.0
_CLEAR: Final = "\r\033[K"


class ScoreProgress:
    """Shows a job's lines; as a context manager it leaves the last one standing."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._every_s = _ON_TERMINAL_S if self._terminal else _IN_LOG_S
        self._shown_at = time.monotonic()
        self._last: Callable[[], str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._last is None:
            return
        text = self._last()
        click.echo(f"{_CLEAR}{text}" if self._terminal else text, err=True)

    def update(self, text: Callable[[], str]) -> None:
        """Show how far it is, if it is time to."""
        self._last = text
        now = time.monotonic()
        if now - self._shown_at < self._every_s:
            return
        self._shown_at = now
        if self._terminal:
            click.echo(f"{_CLEAR}{text()}", err=True, nl=False)
        else:
            click.echo(text(), err=True)

    def line(self, text: str) -> None:
        """Show what happened, on a line of its own."""
        click.echo(f"{_CLEAR if self._terminal else ''}{text}", err=True)
