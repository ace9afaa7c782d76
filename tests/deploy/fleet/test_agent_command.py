"""`agent` and `run --follow` as processes of their own, with the real trial."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.cli.systemd import ServiceManager
from snow_runtime.update.box import Box
from tests.deploy.fleet.publications import Publisher, present, save_graph
from tests.deploy.fleet.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_S = 120.0
# Stands for `run`: says that it is ready, and for the graph of r3 ends as a crash does.
PROGRAM = """
import os, pathlib, signal, socket, sys, time
current = pathlib.Path(sys.argv[1])
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect(os.environ["NOTIFY_SOCKET"])
def load(*_):
    name = os.path.basename(os.readlink(current)).split("-")[1]
    with open(sys.argv[2], "a") as stream:
        stream.write(f"{os.getpid()} {name}\\n")
    if name == "r3":
        os.kill(os.getpid(), signal.SIGSEGV)
    refused = "\\nX_SNOW_REFUSED=it lacks a task" if name == "r4" else ""
    line.send(f"READY=1{refused}".encode())
signal.signal(signal.SIGHUP, load)
load()
answered = 0
while True:
    slow = os.path.basename(os.readlink(current)).split("-")[1] == "r5"
    answered += 10
    total = answered * (50.0 if slow else 1.0)
    line.send(f"WATCHDOG=1\\nX_SNOW_COUNTS={answered} 0 {total}".encode())
    time.sleep(0.05)
"""


def wait_for(found: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    pytest.fail(f"waited in vain for {what}")


def status_of(box: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((box / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


@contextmanager
def process(*arguments: object, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as stream:
        running = subprocess.Popen(
            [sys.executable, "-m", "snow_deploy", *map(str, arguments)],
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


@pytest.mark.slow
def test_an_agent_and_its_program(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # of fsync
    box, log, program = tmp_path / "box", tmp_path / "log", tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    root = publisher.place / "metadata" / "1.root.json"
    given = ["--box", box, "--box-id", "b", "--box-root", root, "--box-every", 1]
    child = [sys.executable, program, box / "current", log]

    def loaded() -> list[tuple[str, str]]:
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        return [(line.split()[0], line.split()[1]) for line in text.splitlines()]

    def settled(name: str) -> bool:
        status = status_of(box)
        return (status.get("state"), status.get("release")) == ("settled", name)

    def failed(name: str) -> bool:
        status = status_of(box)
        return status.get("state") == "failed" and name in status["failed"]

    with (
        WebServer(publisher.place) as server,
        process("agent", server.url, *given, "--", *child, output=tmp_path / "out"),
    ):
        wait_for(lambda: settled("r1"), "the first release")
        publisher.release("r2", 2, watch_s=1.0)
        wait_for(lambda: settled("r2"), "the second release")
        pids = {pid for pid, _ in loaded()}
        assert [name for _, name in loaded()] == ["r1", "r2"]
        assert len(pids) == 1  # it was told, not started again

        publisher.release("r3", 3, watch_s=60.0)  # crashes when it is loaded
        wait_for(lambda: failed("r3"), "the way back from r3")
        assert "signal 11" in status_of(box)["failed"]["r3"]
        wait_for(lambda: loaded()[-1][1] == "r2", "the program with the release before")
        assert present(box) == "r2"

        publisher.release("r4", 4, watch_s=60.0)  # the program keeps the old one
        wait_for(lambda: failed("r4"), "the way back from r4")
        assert status_of(box)["failed"]["r4"] == "it lacks a task"

        publisher.release("r5", 5, watch_s=60.0, budget_ms=20.0)  # too slow, once it works
        wait_for(lambda: failed("r5"), "the way back from r5")
        assert "an answer took 50.0 ms" in status_of(box)["failed"]["r5"]

        graph = save_graph(publisher.folder / "wrong.onnx", 6, check=False)
        publisher.release("r6", graph=graph)  # does not answer as it says it does
        wait_for(lambda: failed("r6"), "the refusal of r6")
        assert "does not answer as its graph did" in status_of(box)["failed"]["r6"]
        assert "r6" not in [name for _, name in loaded()]
        assert present(box) == "r2"
        last = loaded()[-1][0]
    assert status_of(box)["state"] == "ended"
    with pytest.raises(ProcessLookupError):
        os.kill(int(last), 0)


@pytest.mark.slow
def test_a_running_box_with_two_cameras_loses_no_frame(
    publisher: Publisher, tmp_path: Path
) -> None:
    box, output = tmp_path / "box", tmp_path / "out"
    root = publisher.place / "metadata" / "1.root.json"
    cameras = [f"--camera={name}=synthetic://?width=64&height=48&fps=2" for name in "ab"]
    given = ["--follow", publisher.place, "--box", box, "--box-root", root, "--box-every", 1]
    with process("run", *cameras, *given, output=output) as running:
        wait_for(lambda: status_of(box).get("state") == "settled", "the first release")
        wait_for(lambda: output.read_text(encoding="utf-8").count("{") > 8, "some answers")
        began = output.read_text(encoding="utf-8").count('{"camera"')
        publisher.release("r2", 2, watch_s=2.0)
        wait_for(
            lambda: (
                (status_of(box).get("state"), status_of(box).get("release")) == ("settled", "r2")
            ),
            "the second release",
        )
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    said = output.read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line) for line in said if line.startswith("{")]
    assert any("loaded anew: food" in line for line in said), said[-10:]
    assert not any(line.startswith("errors:") for line in said)
    for name in "ab":
        numbers = [each["frame"] for each in answers[began:] if each["camera"] == name]
        assert len(numbers) > 4
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_once_from_a_stick(publisher: Publisher, tmp_path: Path) -> None:
    root = publisher.place / "metadata" / "1.root.json"
    box = tmp_path / "box"
    given = ["agent", str(publisher.place), "--box", str(box), "--once"]
    result = CliRunner().invoke(main, [*given, "--box-root", str(root)])
    assert result.exit_code == 0, result.output
    assert "settled: nothing is wrong" in result.stdout
    assert present(box) == "r1"
    result = CliRunner().invoke(main, ["agent", str(tmp_path / "gone"), *given[2:]])
    assert result.exit_code == 1
    assert "the folder is not there" in result.stdout


@pytest.mark.parametrize("agent", [True, False])
def test_an_agent_hears_more_than_systemd(tmp_path: Path, agent: bool) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(address))
        line.settimeout(5)
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "4000000"}
        manager = ServiceManager({**environment, **({"SNOW_DEPLOY_AGENT": "1"} if agent else {})})
        manager.beat(lambda: (7, 1, 84.5))
        manager.ready("2 cameras", "it lacks\na task")
        beat, ready = (line.recv(4096).decode().splitlines()[:3] for _ in range(2))
    more = [["X_SNOW_COUNTS=7 1 84.5"], ["X_SNOW_REFUSED=it lacks a task"]] if agent else [[], []]
    assert beat == ["WATCHDOG=1", *more[0]]
    assert ready == ["READY=1", "STATUS=2 cameras", *more[1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["agent", "place"], "give --box FOLDER"),
        (["agent", "place", "--box", "b", "--box-id", "a/b"], "is no id or tag of a box"),
        (["agent", "place", "--box", "b", "--box-hours", "late"], "are no hours"),
        (["agent", "place", "--box", "b", "--box-rate", "fast"], "is no rate"),
        (["agent", "place", "--box", "b", "--box-root", "nothing"], "cannot be read"),
        (["agent", "place", "--box", "b"], "trusts nobody yet"),
        (["agent", "place", "--box", "b", "--mqtt-ca", "ca"], "are for --mqtt"),
        (["agent", "ftp://place", "--box", "b"], "neither a folder nor an address"),
        (["agent", "p", "--box", "b", "--reload", "x", "--", "y"], "that something else starts"),
        (["run", "--camera", "c", "--box-id", "b"], "--box-id is for --follow"),
        (["run", "--camera", "c", "--follow", "p"], "give --box FOLDER"),
        (["run", "--camera", "c", "--follow", "p", "--box", "b"], "trusts nobody yet"),
        (
            ["run", "--camera", "c", "--follow", "p", "--box", "b", "--box-root", "nothing"],
            "error: The root nothing cannot be read or kept: [Errno 2]",
        ),
    ],
)
def test_what_an_agent_cannot_begin_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in {1, 2}, result.output
    assert message in result.output


def test_a_box_whose_own_root_may_not_be_read_names_it(
    publisher: Publisher, tmp_path: Path, unreadable: Callable[[Path], Path]
) -> None:
    box = Box(tmp_path / "box")
    with box.alone():
        box.root(publisher.place / "metadata" / "1.root.json")
    kept = unreadable(box.folder / "root.json")
    given = ["agent", str(publisher.place), "--box", str(box.folder), "--once"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 1
    assert f"error: The root {kept} cannot be read or kept: [Errno 13]" in result.stderr


def test_a_box_that_follows_and_gets_nothing_says_why(publisher: Publisher, tmp_path: Path) -> None:
    root = publisher.place / "metadata" / "1.root.json"
    box = ["--box", str(tmp_path / "box"), "--box-root", str(root)]
    given = ["run", "--camera", "synthetic://", *box, "--follow", str(tmp_path / "x")]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 1
    assert "has no release yet, and cannot get one" in result.output
    assert "the folder is not there" in result.output
