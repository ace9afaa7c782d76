"""Standard output and error whose reader may leave, of commands whose result is a file."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from typing_extensions import Buffer

_REFUSALS: Final = {
    errno.EPIPE: "nobody reads the output any more",
    errno.ENOSPC: "the output's disk is full",
    errno.EDQUOT: "the output's disk quota is used up",
    errno.EIO: "the output's terminal or disk is gone",
}


@contextmanager
def unread_output_is_lost() -> Iterator[None]:
    """Within it, an output that takes nothing ends no command; standard error says so once.

    `snow-deploy train … 2>&1 | head -1` goes on training, and stores the task.
    """

    def tell(reason: str) -> None:
        click.echo(f"note: {reason}; the command goes on", err=True)

    with ExitStack() as stack:
        stack.enter_context(_replaced("stderr", lambda _: None))
        stack.enter_context(_replaced("stdout", tell))
        yield


def abandon_output(stream: TextIO) -> None:
    """Send what a stream still holds nowhere, so that Python's end is quiet."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # ValueError: a stream in memory, or a closed one
        return


@contextmanager
def _replaced(name: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Let `sys.NAME` lose what its descriptor refuses; one in memory stays as it is."""
    before = getattr(sys, name)
    try:
        before.flush()
        raw: Any = _LosesWhatIsRefused(before.fileno(), tell)
    except (AttributeError, OSError, ValueError):  # none, one in memory, a closed one
        yield
        return
    stream = io.TextIOWrapper(raw, before.encoding, errors="replace", line_buffering=True)
    setattr(sys, name, stream)
    try:
        yield
    finally:
        stream.flush()
        setattr(sys, name, before)


class _LosesWhatIsRefused(io.RawIOBase):
    """Writes to a descriptor until that refuses, tells why, and loses the rest."""

    def __init__(self, descriptor: int, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._tell = tell
        self._refused = False

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def write(self, content: Buffer, /) -> int:
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while left and not self._refused:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            self._refused = True
            self._tell(_REFUSALS[error.errno])
        return size
