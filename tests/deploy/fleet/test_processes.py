"""Ten boxes, each an agent in a process of its own, with a web server and a broker."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from tests.deploy.fleet.publications import agent_of, present, settle
from tests.deploy.fleet.test_agent_command import process, wait_for
from tests.deploy.fleet.web_server import WebServer
from tests.runtime.app.mosquitto import brokers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deploy.fleet.publications import Publisher
    from tests.runtime.app.mosquitto import Start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="ends processes by signals"),
]

# Stands for `run`, for each box in its own way: the last argument is what r2 does there.
PROGRAM = """
import os, signal, socket, sys, time
current, how = sys.argv[1:]
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect(os.environ["NOTIFY_SOCKET"])
def name():
    return os.path.basename(os.readlink(current)).split("-")[1]
def load(*_):
    if name() == "r2" and how == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    line.send(b"READY=1")
signal.signal(signal.SIGHUP, load)
load()
answered = 0
while True:
    slow = name() == "r2" and how == "is-slow"
    answered += 10
    line.send(f"WATCHDOG=1\\nX_SNOW_COUNTS={answered} 0 {answered * (1e5 if slow else 1)}".encode())
    time.sleep(0.2)
"""
TROUBLES: dict[str, dict[str, Any]] = {
    "well": {},
    "stick": {},
    "crashes": {},
    "is-slow": {},
    "killed": {},
    "cut": {"cut_after": 30_000},
    "drags": {"pause_s": 0.1},
    "no-ranges": {"ranges": False, "cut_after": 60_000},
    "forged": {"forge": "/blobs/"},
    "gone": {"absent": "timestamp"},
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Start]:
    pytest.importorskip("paho.mqtt.client")
    yield from brokers(tmp_path)


def test_ten_agents_in_processes(publisher: Publisher, tmp_path: Path, broker: Start) -> None:
    url = f"mqtt://127.0.0.1:{broker('allow_anonymous true')}/site"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    ids = tmp_path / "ids"
    ids.write_text("\n".join([*TROUBLES, "never"]), encoding="utf-8")

    def table() -> dict[str, tuple[str | None, str]]:
        given = ["fleet", "--mqtt", url, "--expect", str(ids), "--json"]
        result = CliRunner().invoke(main, given)
        assert result.exit_code == 1, result.output  # one has never told anything
        return {row["box"]: (row["release"], row["state"]) for row in json.loads(result.stdout)}

    def begin(name: str, place: object) -> subprocess.Popen[bytes]:
        box = tmp_path / name
        root = publisher.place / "metadata" / "1.root.json"
        given = ["--box", box, "--box-id", name, "--box-root", root, "--box-every", 2]
        child = ["--", sys.executable, program, box / "current", name]
        running = process("agent", place, *given, "--mqtt", url, *child, output=tmp_path / "out")
        return stack.enter_context(running)

    with ExitStack() as stack:
        servers = {name: stack.enter_context(WebServer(publisher.place)) for name in TROUBLES}
        places = {name: servers[name].url for name in TROUBLES} | {"stick": str(publisher.place)}
        agents = {name: begin(name, places[name]) for name in TROUBLES}
        began = dict.fromkeys(TROUBLES, ("r1", "settled"))
        wait_for(lambda: began.items() <= table().items(), "the first release on all boxes")
        for name, faults in TROUBLES.items():
            for fault, value in faults.items():
                setattr(servers[name].faults, fault, value)
        asked = len(servers["no-ranges"].asked)
        publisher.release("r2", 2, watch_s=1.0, budget_ms=5e3)
        for pause in (0.5, 1.0, 2.0):  # the plug is pulled again and again
            time.sleep(pause)
            agents["killed"].kill()
            agents["killed"].wait()
            agents["killed"] = begin("killed", places["killed"])
        cut = servers["no-ranges"].asked
        wait_for(lambda: any("/blobs/" in path for path, _ in cut[asked:]), "a cut download")
        servers["no-ranges"].faults.cut_after = None
        ends = {
            **dict.fromkeys(("well", "stick", "cut", "drags", "no-ranges"), ("r2", "settled")),
            "crashes": ("r1", "failed"),
            "is-slow": ("r1", "failed"),
            "forged": ("r1", "untrusted"),
            "gone": ("r1", "unreachable"),
            "never": (None, "unknown"),
        }
        wait_for(lambda: ends.items() <= table().items(), "all boxes at their ends")
        wait_for(lambda: table()["killed"] in {("r1", "failed"), ("r2", "settled")}, "the last one")
        assert {name: present(tmp_path / name) for name in ends if name != "never"} == {
            name: release for name, (release, _) in ends.items() if name != "never"
        }
        agents["well"].kill()  # and never comes back
        wait_for(lambda: table()["well"] == ("r2", "missing"), "the one that is gone")


def test_an_agent_that_is_killed_at_any_moment(publisher: Publisher, tmp_path: Path) -> None:
    """The whole process, its trial too, by SIGKILL."""
    began = tmp_path / "began"
    settle(agent_of(began, publisher.place, publisher))
    graphs = {"r1": (began / "current" / "snow.onnx").read_bytes()}
    publisher.release("r2", 2)
    graphs["r2"] = (publisher.folder / "snow.onnx").read_bytes()

    def begin(folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "snow_deploy", "agent", publisher.place, "--once", "--box"]
        return subprocess.Popen(
            [*map(str, command), str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def copy(name: str) -> Path:
        shutil.copytree(began, tmp_path / name, symlinks=True)
        return tmp_path / name

    whole = begin(copy("whole"))
    start = time.monotonic()
    assert whole.wait() == 0
    took_s = time.monotonic() - start
    draw = random.Random(7)
    for number in range(8):
        folder = copy(str(number))
        running = begin(folder)
        time.sleep(draw.uniform(0.3, 1.0) * took_s)
        running.send_signal(signal.SIGKILL)
        running.wait()
        name = present(folder)
        assert name in graphs
        assert (folder / "current" / "snow.onnx").read_bytes() == graphs[name]
        agent = agent_of(folder, publisher.place, None)
        assert settle(agent) == "settled", agent.error
        assert (folder / "current" / "snow.onnx").read_bytes() == graphs["r2"]
    # A trial that was killed is a process until its new parent has seen to it.
    end = time.monotonic() + 20
    while trials_of(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    assert not trials_of(tmp_path)


def trials_of(folder: Path) -> list[str]:
    """Return processes of trials that were left."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            line = path.read_bytes().decode().replace("\0", " ")
            if "update.trial" in line and str(folder) in line:
                found.append(line)
    return found
