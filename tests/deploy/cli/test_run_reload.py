"""A configuration that changes while `run` runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from snow_deploy.cli.systemd import ServiceManager
from tests.runtime.app.conftest import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("cv2")
URI = "synthetic://?width=64&height=48&fps=25"


class Process:
    """`run --config`, with what it has said so far."""

    def __init__(self, path: Path, line: Line) -> None:
        words = [sys.executable, "-m", "snow_deploy", "run", "--config", str(path)]
        systemd = {"NOTIFY_SOCKET": line.path, "WATCHDOG_USEC": "1000000"}
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **systemd},
        )
        self.lines: list[dict[str, Any]] = []
        self.said = ""
        self._threads = [threading.Thread(target=each) for each in (self._out, self._err)]
        for thread in self._threads:
            thread.start()

    def _out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def _err(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def reload(self, said: str) -> None:
        """Send SIGHUP, and wait until it has said something, and answered after that."""
        before = self.said.count(said)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.said.count(said) > before, 60)
        count = len(self.lines)
        until(lambda: len(self.lines) > count + 3, 60)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        for thread in self._threads:
            thread.join()

    def answers(self, camera: str) -> list[dict[str, Any]]:
        return [each for each in self.lines if "event" not in each and each["camera"] == camera]


class Line:
    """What systemd hears."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.settimeout(10)

    def heard(self) -> str:
        return self._socket.recv(4096).decode()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.fixture
def path(tmp_path: Path, graph_path: Path) -> Path:
    found = tmp_path / "snow.toml"
    write(found, graph_path)
    return found


def write(path: Path, graph: Path, more: str = "", cameras: tuple[str, ...] = ("door",)) -> None:
    tables = "".join(f'[cameras.{name}]\naddress = "{URI}"\n' for name in cameras)
    states = '[states]\nagree = "1/1"\ndwell = 0\n'
    text = f"model = '{graph}'\n{more}\n{tables}{states}"
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def process(path: Path, line: Line) -> Iterator[Process]:
    made = Process(path, line)
    yield made
    if made.process.poll() is None:
        made.process.kill()
    made.process.wait()
    for each in (made.process.stdout, made.process.stderr):
        assert each is not None
        each.close()


@pytest.mark.slow
def test_a_configuration_is_followed_while_it_runs_and_a_wrong_one_is_not(
    process: Process, path: Path, graph_path: Path, line: Line
) -> None:
    until(lambda: len(process.answers("door")) > 3, 60)

    write(path, graph_path, "min_confidence = 1.0")
    process.reload("loaded anew: food")
    assert process.answers("door")[-1]["tasks"] == {}

    write(path, graph_path, "min_confidenze = 0.1")
    process.reload("error: the old configuration stays: ")
    assert "did you mean 'min_confidence'?" in process.said
    assert process.answers("door")[-1]["tasks"] == {}

    write(path, graph_path, 'tasks = ["drink"]')
    process.reload("error: the old model stays: ")

    write(path, graph_path, "", ("door", "yard"))
    process.reload("the configuration has changed; cameras anew")
    until(lambda: len(process.answers("yard")) > 3, 60)
    assert set(process.answers("yard")[-1]["tasks"]) == {"food"}

    write(path, graph_path, "record = 'seen.mp4'", ("door", "yard"))
    process.reload("error: the old configuration stays: --record seen.mp4")
    until(lambda: process.answers("yard"), 60)

    process.end()
    assert process.process.returncode == 0
    assert line.heard().startswith("READY=1\nSTATUS=1 cameras, ")
    assert line.heard() == "WATCHDOG=1"
    events = [each for each in process.lines if "event" in each]
    of_door = [(each["before"], each["after"]) for each in events if each["camera"] == "door"]
    assert of_door == [("stale", of_door[0][1])]  # its state lasted through it all


def test_systemd_is_told_how_it_goes(line: Line, tmp_path: Path) -> None:
    now = [0.0]
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
    manager = ServiceManager(environment, lambda: now[0])
    assert manager.watches
    manager.ready("2 cameras")
    assert line.heard() == "READY=1\nSTATUS=2 cameras"
    manager.beat()
    manager.beat()
    now[0] = 1.0
    manager.beat()
    manager.reloading()
    assert [line.heard(), line.heard()] == ["WATCHDOG=1"] * 2
    assert line.heard().startswith("RELOADING=1\nMONOTONIC_USEC=")
    manager.stopping()
    assert line.heard() == "STOPPING=1"


def test_an_abstract_socket(tmp_path: Path) -> None:
    line = Line(f"\0{tmp_path}")
    ServiceManager({"NOTIFY_SOCKET": f"@{tmp_path}"}).stopping()
    assert line.heard() == "STOPPING=1"
    line.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere"},
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_systemd_nothing_is_told(environment: dict[str, str]) -> None:
    manager = ServiceManager(environment)
    manager.ready("")
    manager.beat()
    assert not manager.watches
