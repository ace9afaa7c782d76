"""Writing lines to a pipe, a file or a terminal whose reader may be slow, or the disk full."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import TextIO

    from typing_extensions import Buffer

_GONE: Final = (BrokenPipeError, ConnectionError)


class NonBlockingWriter:
    """Writes whole lines, and waits for no reader longer than a given time.

    After a reader has taken nothing for that long, lines are refused at once until it reads again.

    Args:
        descriptor: Descriptor to write to; it stays open.
        patience_s: How long to wait for the reader, in seconds.

    Attributes:
        gone: Whether nobody will ever read again.
    """

    def __init__(self, descriptor: int, patience_s: float = 0.5) -> None:
        self._descriptor = descriptor
        self._patience_s = patience_s
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._stalled = False
        self._rest = b""  # of a line that the reader took a part of
        self.gone = False

    def write(self, line: bytes) -> bool:
        """Write a line; give whether it was written, or its beginning: then the rest follows."""
        if self.gone:
            return False
        try:
            return self._write_to_file(line) if self._is_file else self._write_in_time(line)
        except _GONE:
            self.gone = True
        except OSError as error:  # such as a full disk: the next line may fare better
            self.gone = error.errno == errno.EBADF
        return False

    def finish(self) -> None:
        """Write what is left of a line, as far as the reader takes it in time."""
        with suppress(OSError):
            self._drain()

    def _write_to_file(self, line: bytes) -> bool:
        """Write all or nothing: a full disk must not leave half a line."""
        begins = os.fstat(self._descriptor).st_size
        written = 0
        try:
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError:
            if written:
                os.ftruncate(self._descriptor, begins)
                os.lseek(self._descriptor, begins, os.SEEK_SET)
            raise
        return True

    def _write_in_time(self, line: bytes) -> bool:
        if not self._drain():
            return False
        self._rest = line
        if self._drain() or self._rest != line:
            return True
        self._rest = b""
        return False

    def _drain(self) -> bool:
        """Write what is left, as far as the reader takes it in time; give whether it took all."""
        deadline = time.monotonic() + (0.0 if self._stalled else self._patience_s)
        while self._rest:
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([], [self._descriptor], [], left_s)[1]:
                self._stalled = True
                return False
            # A pipe that is ready takes so much without waiting.
            count = os.write(self._descriptor, self._rest[: select.PIPE_BUF])
            self._rest = self._rest[count:]
            self._stalled = False
        return True


class NonBlockingStream(io.RawIOBase):
    """A stream over a :class:`NonBlockingWriter`: lines that nobody takes are dropped and counted.

    Args:
        descriptor: Descriptor to write to.
        patience_s: The same as for the pipe.

    Attributes:
        lost: How many lines nobody took.
    """

    def __init__(self, descriptor: int, patience_s: float = 0.5) -> None:
        self._pipe = NonBlockingWriter(descriptor, patience_s)
        self._descriptor = descriptor
        self._partial = b""
        self.lost = 0

    def writable(self) -> bool:
        """Say yes."""
        return True

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._descriptor

    def write(self, content: Buffer, /) -> int:
        """Write the lines that are complete by now."""
        given = bytes(content)
        *lines, self._partial = (self._partial + given).split(b"\n")
        for line in lines:
            self._send(line + b"\n")
        return len(given)

    def flush(self) -> None:
        """Write the beginning of a line, too."""
        partial, self._partial = self._partial, b""
        if partial:
            self._send(partial)

    def _send(self, content: bytes) -> None:
        if not self._pipe.write(content):
            self.lost += 1


def non_blocking_text(descriptor: int, encoding: str = "utf-8", patience_s: float = 0.5) -> TextIO:
    """Make a text stream that writes as :class:`NonBlockingStream` does."""
    raw: Any = NonBlockingStream(descriptor, patience_s)
    return io.TextIOWrapper(raw, encoding, "backslashreplace", write_through=True)


def descriptor_of(stream: TextIO) -> int | None:
    """Give the descriptor of a stream that is a file, pipe or terminal."""
    try:
        stream.flush()
        return stream.fileno()
    except (OSError, ValueError):  # ValueError: the stream is closed
        return None
