"""Standard error as libraries in C write to it: nothing waits there, and no flood passes."""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snow_runtime.app.outputs.non_blocking import NonBlockingWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_FREE: Final = 3  # lines of one kind at once: some texts repeat a line
_EVERY_S: Final = 60.0
_KINDS: Final = 256
_BURST: Final = 300  # lines of all kinds at once, as when a model is loaded
_PER_S: Final = 2.0
_LOOK_MS: Final = 200
_CHUNK_BYTES: Final = 1 << 16
_LONGEST_BYTES: Final = 1 << 13
_END_S: Final = 2.0
_NUMBER: Final = re.compile(rb"0x[0-9a-fA-F]+|\d+")


@dataclass(slots=True)
class _Kind:
    """Lines that differ in numbers only: since when, and how many passed or did not."""

    began_s: float
    passed: int = 0
    kept_back: int = 0


class LineLimit:
    """Lets a few lines of each kind pass in a minute, and of all kinds a few hundred at once.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: OrderedDict[bytes, _Kind] = OrderedDict()
        self._forgotten = 0  # lines kept back of kinds that are no longer known
        self._allowance = float(_BURST)
        self._looked_s = clock()

    def admit(self, line: bytes) -> Iterator[bytes]:
        """Give the line if it may pass, after how many like it were kept back."""
        now = self._clock()
        self._allowance = min(_BURST, self._allowance + _PER_S * (now - self._looked_s))
        self._looked_s = now
        kind = self._kind_of(line, now)
        if now - kind.began_s >= _EVERY_S:
            yield from _told(kind.kept_back)
            kind.began_s, kind.passed, kind.kept_back = now, 0, 0
        if kind.passed >= _FREE or self._allowance < 1:
            kind.kept_back += 1
            return
        kind.passed += 1
        self._allowance -= 1
        yield line

    def rest(self) -> Iterator[bytes]:
        """Give how many lines were kept back that nothing was said of."""
        yield from _told(self._forgotten + sum(kind.kept_back for kind in self._kinds.values()))
        self._kinds.clear()
        self._forgotten = 0

    def _kind_of(self, line: bytes, now: float) -> _Kind:
        key = _NUMBER.sub(b"#", line)
        kind = self._kinds.setdefault(key, _Kind(now))
        self._kinds.move_to_end(key)
        if len(self._kinds) > _KINDS:
            self._forgotten += self._kinds.popitem(last=False)[1].kept_back
        return kind


def _told(kept_back: int) -> Iterator[bytes]:
    if kept_back:
        yield b"(%d more lines of libraries like those above)\n" % kept_back


class GuardedDescriptor:
    """Takes what is written to a descriptor, and passes on what :class:`LineLimit` lets through.

    libjpeg, FFmpeg and others write to file descriptor 2 themselves. Where it is a pipe that nobody
    reads, such a write waits for ever inside the library, and with it whoever called it. Within
    this the descriptor leads to a thread here: who writes never waits, and what the reader does not
    take in time is lost.

    As a context manager it gives the descriptor as it was, for what may not be lost among the rest.

    Args:
        descriptor: Descriptor, such as that of standard error.
        limit: What may pass.
    """

    def __init__(self, descriptor: int, limit: LineLimit | None = None) -> None:
        self._descriptor = descriptor
        self._limit = limit or LineLimit()
        self._outer = self._reader = -1
        self._ending = False
        self._thread = threading.Thread(target=self._pass_on, name="stderr", daemon=True)

    def __enter__(self) -> int:
        self._outer = os.dup(self._descriptor)
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.dup2(writer, self._descriptor)
        os.close(writer)
        self._thread.start()
        return self._outer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.dup2(self._outer, self._descriptor)
        self._ending = True
        self._thread.join(_END_S)
        if not self._thread.is_alive():
            os.close(self._reader)
            os.close(self._outer)

    def _pass_on(self) -> None:
        pipe = NonBlockingWriter(self._outer)
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        partial = b""
        while True:
            ready = poll.poll(0 if self._ending else _LOOK_MS)
            data = os.read(self._reader, _CHUNK_BYTES) if ready else b""
            *lines, partial = (partial + data).split(b"\n")
            if partial and (not data or len(partial) > _LONGEST_BYTES):  # its end takes its time
                lines.append(partial)
                partial = b""
            for line in lines:
                for passed in self._limit.admit(line + b"\n"):
                    pipe.write(passed)
            if not data and (ready or self._ending):
                break
        for passed in self._limit.rest():
            pipe.write(passed)
        pipe.finish()
