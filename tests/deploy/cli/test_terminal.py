"""`run` in a terminal that is closed: a real one, by a pseudo-terminal of its own session."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("cv2")
CAMERA = "synthetic://?width=64&height=48&fps=20"
# The first process of a session with a terminal of its own, as a shell in a window is.
SESSION = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it, as nohup does
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=int(os.environ["OUT"]),
                         stderr=subprocess.DEVNULL, pass_fds=[int(os.environ["OUT"])])
print(child.pid, flush=True)
signal.signal(signal.SIGHUP, lambda *_: child.send_signal(signal.SIGHUP))
while True:
    try:
        sys.exit(child.wait() & 0xFF)
    except InterruptedError:
        pass
"""


class Window:
    """A terminal with a session in which `snow-deploy run` has begun to answer."""

    def __init__(self, graph: Path, *before: str) -> None:
        self.terminal, inside = pty.openpty()
        reading, writing = os.pipe()
        command = [*before, sys.executable, "-m", "snow_deploy", "run", str(graph)]
        self.shell = subprocess.Popen(
            [sys.executable, "-c", SESSION, *command, "--camera", CAMERA],
            stdin=inside,
            stdout=inside,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "OUT": str(writing)},
            pass_fds=[writing],
        )
        os.close(inside)
        os.close(writing)
        self.answers = os.fdopen(reading, encoding="utf-8")
        self.pid = int(os.read(self.terminal, 100).split()[0])
        self.line()

    def line(self) -> str:
        return self.answers.readline()

    def close_terminal(self) -> None:
        os.close(self.terminal)
        self.terminal = -1

    def end(self) -> None:
        if self.terminal >= 0:
            os.close(self.terminal)
        for pid in (self.pid, self.shell.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.shell.wait()
        self.answers.close()


@pytest.fixture
def windows() -> Iterator[list[Window]]:
    opened: list[Window] = []
    yield opened
    for window in opened:
        window.end()


def flows(window: Window, seconds: float) -> bool:
    """Whether answers still come after so many seconds."""
    ends = time.time() + seconds
    while line := window.line():
        if json.loads(line)["time"] > ends:
            return True
    return False


def test_closing_the_terminal_ends_it(graph_path: Path, windows: list[Window]) -> None:
    windows.append(Window(graph_path))
    windows[0].close_terminal()
    assert not flows(windows[0], 20)


def test_a_signal_alone_does_not(graph_path: Path, windows: list[Window]) -> None:
    windows.append(Window(graph_path))
    os.kill(windows[0].pid, signal.SIGHUP)
    assert flows(windows[0], 1)


def test_nohup_outlives_its_terminal(graph_path: Path, windows: list[Window]) -> None:
    windows.append(Window(graph_path, "nohup"))
    windows[0].close_terminal()
    assert flows(windows[0], 1)
