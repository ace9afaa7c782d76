"""A program that the agent begins itself, keeps alive, and hears by systemd's protocol."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snow_runtime.update.health import HealthWatch, ProgramCounts
from snow_runtime.update.processes import FROM_OUTSIDE, ends_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

AGENT: Final = "SNOW_DEPLOY_AGENT"
"""Variable by which a program knows that an agent began it, who reads fields of our own."""
COUNTS: Final = "X_SNOW_COUNTS"
"""Field of a sign of life: frames answered, frames failed on, and the sum of latencies in ms."""
REFUSED: Final = "X_SNOW_REFUSED"
"""Field of the message after a reload: why the old model stays."""
_POLL_S: Final = 0.2
_AGAIN_S: Final = (1.0, 60.0)  # between two starts: at first, and at the most
_END_S: Final = 30.0
_ASKED_S: Final = 20.0  # what the program is told to keep: it gives four signs in that time
_SILENCE_S: Final = 60.0  # without a sign of life the program hangs
_READY_S: Final = 300.0  # a model that takes longer to load does not work here
_HANGS_S: Final = 1800.0  # and a program that takes so long hangs


class ChildProgram:
    """A command that is started, started again when it ends, and ended with the agent.

    It gets SIGHUP to load anew. It tells how it does by the protocol of `sd_notify`, as
    `snow-deploy run` does: `READY=1`, `WATCHDOG=1`, and fields of its own.

    Args:
        command: The command and its arguments.
        again_s: Seconds between two starts: at first, and at the most.
    """

    watched = True

    def __init__(self, command: Sequence[str], again_s: tuple[float, float] = _AGAIN_S) -> None:
        self._command = list(command)
        self._again_s = again_s
        self._lock = threading.RLock()
        self._watch = HealthWatch()
        self._child: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._wanted = False
        self._start_at = 0.0
        self._wait_s = again_s[0]
        self._heard = 0.0
        self._asked: float | None = None  # when it was to begin, until it says that it works
        self._worked = False  # this process has said once that it works
        self._reloads = False  # it has said that it loads anew, and not yet that it works
        self._of_before = False  # what it says next is of a switch before the last one
        self._next_due: float | None = None  # when it has to have said that it loads for the last
        self._let_go_at: float | None = None  # when one that is to end by itself was told so
        self._folder = tempfile.TemporaryDirectory(prefix="snow-agent-")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._address = str(Path(self._folder.name) / "notify")
        self._socket.bind(self._address)
        self._socket.settimeout(_POLL_S)
        self._thread = threading.Thread(target=self._tend, name="child", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether it has said that it works since it was last to begin anew."""
        with self._lock:
            return self._child is not None and self._asked is None

    @property
    def pid(self) -> int | None:
        """Number of the process; None where none runs."""
        with self._lock:
            return None if self._child is None else self._child.pid

    def begin(self, budget_ms: float | None, *, has_to_answer: bool = False) -> None:
        """Start it."""
        self._watch.begin(budget_ms, has_to_answer=has_to_answer)
        with self._lock:
            self._wanted, self._start_at = True, 0.0

    def switch(self, budget_ms: float | None) -> None:
        """Have it load anew; start it where it does not run.

        One that still begins may have read the files of before, and knows no SIGHUP yet: it is
        ended and started anew. How it ends says nothing of the new release.
        """
        with self._lock:
            self._watch.begin(budget_ms)
            self._wanted, self._start_at, self._wait_s = True, 0.0, self._again_s[0]
            if self._child is None or self._child.poll() is not None:
                self._child = self._let_go_at = self._asked = None
                return
            self._asked = time.monotonic()
            if self._worked:
                self._heard, self._of_before = self._asked, self._reloads
                self._child.send_signal(signal.SIGHUP)
            else:
                self._let_go_at = self._asked
                self._child.terminate()

    def look(self) -> None:
        """Do nothing: it tells what it counts by itself."""

    def fault(self) -> str | None:
        """Return what has gone wrong since the last switch."""
        return self._watch.fault

    @property
    def answers(self) -> bool:
        """Whether it has answered a frame since the last switch, if it has to."""
        return self._watch.answers

    @property
    def answered_lately(self) -> bool:
        """Whether it has answered a frame in the last day."""
        return self._watch.answered_lately

    def end(self) -> None:
        """End it, by SIGTERM and then by force."""
        self._ended.set()
        self._thread.join()
        self.rest()
        self._socket.close()
        self._folder.cleanup()

    def rest(self) -> None:
        """End it until the next switch."""
        with self._lock:
            self._wanted, self._asked = False, None
            child, self._child = self._child, None
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(_END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _tend(self) -> None:
        while not self._ended.is_set():
            self._look()
            try:
                text = self._socket.recv(1 << 16).decode(errors="replace")
            except OSError:  # none came
                continue
            self._hear(dict(line.partition("=")[::2] for line in text.splitlines()))

    def _look(self) -> None:
        """Start the program where it is to run, and note how it ended."""
        now = time.monotonic()
        with self._lock:
            if self._child is not None and (code := self._child.poll()) is not None:
                let_go, self._let_go_at, self._child = self._let_go_at, None, None
                if let_go is not None:
                    self._asked = None
                elif code != 0 and -code not in FROM_OUTSIDE:
                    how = f"signal {-code}" if code < 0 else f"exit code {code}"
                    self._watch.fail(f"the program ended by {how}")
                self._start_at = now + (self._wait_s if let_go is None else 0.0)
                self._wait_s = min(self._wait_s * 2, self._again_s[1])
            if self._let_go_at is not None and now - self._let_go_at > _END_S:
                self._end_now()
            if self._child is not None and self._heard and now - self._heard > _SILENCE_S:
                self._watch.fail(f"the program gave no sign of life for {_SILENCE_S:g} s")
                self._end_now()
            if self._next_due is not None and now > self._next_due:
                self._asked = self._next_due = None  # it has loaded once for both
            if self._asked is not None and now - self._asked > _READY_S:
                self._watch.fail(f"the program did not begin to work within {_READY_S:g} s")
                if now - self._asked > _HANGS_S:
                    self._asked = now  # the next one has its own time
                    self._end_now()
            if self._child is None and self._wanted and now >= self._start_at:
                self._start()

    def _end_now(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _start(self) -> None:
        watched = {"NOTIFY_SOCKET": self._address, "WATCHDOG_USEC": str(int(_ASKED_S * 1e6))}
        environment = {**os.environ, **watched, AGENT: "1"}
        environment.pop("WATCHDOG_PID", None)
        self._heard, self._worked = 0.0, False  # silence counts from the first word on
        self._reloads = self._of_before = False
        self._next_due = None
        self._asked = self._asked or time.monotonic()
        try:
            self._child = subprocess.Popen(  # noqa: S603 - a command that the box's owner gave
                self._command,
                env=environment,
                preexec_fn=ends_with_parent(),  # noqa: PLW1509 - it takes no lock
            )
        except OSError as error:
            self._watch.fail(f"{self._command[0]} cannot be started: {error}")
            self._start_at = time.monotonic() + self._wait_s

    def _hear(self, fields: dict[str, str]) -> None:
        with self._lock:
            if self._let_go_at is not None:
                return  # what it still says is of before
            self._heard = time.monotonic()
            self._reloads = "RELOADING" in fields or (self._reloads and "READY" not in fields)
            if self._of_before:
                self._of_before = "READY" not in fields
                self._next_due = None if self._of_before else self._heard + _ASKED_S
                return
            if self._reloads:
                self._next_due = None
            if "READY" in fields:
                self._wait_s, self._asked, self._worked = self._again_s[0], None, True
            begins = self._asked is not None
        if REFUSED in fields:
            self._watch.fail(fields[REFUSED])
        if begins:
            return  # what it counts until it has loaded anew is of before
        try:
            answered, errors, sum_ms = fields.get(COUNTS, "").split()
            self._watch.report(ProgramCounts(int(answered), int(errors), float(sum_ms)))
        except ValueError:
            return
