"""Signals and standard error of a command that runs for weeks."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from snow_deploy.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from snow_runtime.app.loop import Loop

_POLL_S: Final = 0.1
_EXIT_HUNG_UP: Final = 129  # 128 + SIGHUP, as shells have it
_FORGET_POLLS: Final = 100
"""A terminal that has been gone for so long without a signal left this process behind."""


class Signals:
    """SIGTERM and Ctrl-C end a loop, SIGHUP has its model loaded anew; from the first moment on.

    SIGHUP ends it where it comes because the terminal was closed, unless `nohup` began it.

    Before there is a loop, SIGTERM and Ctrl-C end the command, and SIGHUP is kept for later; after
    it, while the command cleans up, they do nothing. Handlers only set flags: one may interrupt
    another, so they take no lock and start no thread.

    As a context manager, in the main thread, it gives the signals back at the end.

    Attributes:
        asked_to_end: Whether a signal has asked for the end, whatever there was to end.
    """

    def __init__(self) -> None:
        self._loop: Loop | None = None
        self.asked_to_end = False
        self._ending = False
        self._hung_up = False
        self._terminal = Terminal()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        handlers: dict[signal.Signals, Callable[[int, Any], None]] = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._hang_up,
        }
        self._before = {number: signal.signal(number, do) for number, do in handlers.items()}
        if self._before[signal.SIGHUP] == signal.SIG_IGN:  # nohup: the terminal may go
            self._terminal.forget()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def guiding(self, loop: Loop, reload: Callable[[], object]) -> Iterator[None]:
        """Let the signals act on a loop, and then on nothing.

        Args:
            loop: What is stopped.
            reload: Called in a thread for SIGHUP; once for all that came while it was at work.
        """
        self._loop = loop
        over = threading.Event()  # none of the handlers touches it
        threading.Thread(target=self._watch, args=[reload, over], name="swap", daemon=True).start()
        try:
            yield
        finally:
            self._ending = True
            over.set()

    def begin_anew(self) -> None:
        """Be as before there was a loop: another one will follow."""
        self._loop = None
        self._ending = False

    def _stop(self, number: int, _frame: object) -> None:
        self.asked_to_end = True
        if self._loop is not None:
            self._loop.stop()
        elif not self._ending:
            self._ending = True
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            click.echo("ended before it began", err=True)
            raise click.exceptions.Exit(0)

    def _hang_up(self, *_: object) -> None:
        self._hung_up = True
        if self._loop is None and self._terminal.was_closed():
            raise click.exceptions.Exit(_EXIT_HUNG_UP)

    def _watch(self, reload: Callable[[], object], over: threading.Event) -> None:
        """Load anew for each SIGHUP, or stop for one that tells that the terminal was closed."""
        gone = 0
        while not over.wait(_POLL_S):
            hung_up, self._hung_up = self._hung_up, False
            closed = self._terminal.was_closed()
            if hung_up:
                if closed and self._loop is not None:
                    self.asked_to_end = True
                    self._loop.stop()
                else:
                    reload()
            gone = gone + 1 if closed else 0
            if gone >= _FORGET_POLLS:  # put into the background, and left behind by its shell
                self._terminal.forget()


@contextmanager
def non_blocking_errors() -> Iterator[None]:
    """Within it, standard error waits for no reader: what nobody takes is lost.

    Log records go there too, and what libraries write to the descriptor themselves. A program that
    waits for ever to say that a camera is gone helps nobody. If it ends by an error, that does not
    wait either.
    """
    from snow_runtime.app.outputs.non_blocking import descriptor_of, non_blocking_text
    from snow_runtime.app.stderr_guard import GuardedDescriptor

    before = sys.stderr
    descriptor = None if before is None else descriptor_of(before)
    if descriptor is None:
        yield
        return
    try:
        with GuardedDescriptor(descriptor) as outer, _crashes_told(outer):
            sys.stderr = non_blocking_text(outer, before.encoding)
            yield
    except BaseException:
        sys.stderr = non_blocking_text(descriptor, before.encoding)
        raise
    sys.stderr = before


@contextmanager
def _crashes_told(descriptor: int) -> Iterator[None]:
    """Within it, a crash in a library says where: its own last words may not get through."""
    if faulthandler.is_enabled():
        yield
        return
    faulthandler.enable(descriptor)
    try:
        yield
    finally:
        faulthandler.disable()
