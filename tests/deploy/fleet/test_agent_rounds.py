"""Rounds of an agent: hours, ends in the middle, disks, and releases that are called off."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from snow_deploy.fleet.waves import parse_wave, pause, roll_back
from snow_runtime.update.box import Box
from snow_runtime.update.errors import UpdateError
from snow_runtime.update.patience import Patience
from tests.deploy.fleet.publications import (
    Publisher,
    TestProgram,
    agent_of,
    present,
    settle,
)
from tests.deploy.fleet.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_runtime.update.release import Release
    from snow_runtime.update.status import BoxStatus


class Times:
    """Hours that are over after so many looks at the clock."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def has(self) -> bool:
        self.looks -= 1
        return self.looks >= 0


def set_hours(agent: Any, hours: object) -> None:
    object.__setattr__(agent._options, "hours", hours)


def test_hours_end_a_download_in_the_middle_of_a_piece(
    publisher: Publisher, tmp_path: Path
) -> None:
    box = tmp_path / "box"
    with WebServer(publisher.place) as server:
        agent = agent_of(box, server.url, publisher)
        set_hours(agent, Times(1))
        assert agent.step() == "waiting"
        (part,) = (box / "incoming").glob("*.part")
        assert part.stat().st_size > 0
        asked = len(server.asked)
        set_hours(agent, None)
        assert settle(agent) == "settled"
        assert any("/blobs/" in path and given for path, given in server.asked[asked:])


def test_a_way_back_that_needs_no_download_waits_for_no_hours(
    publisher: Publisher, tmp_path: Path
) -> None:
    box = tmp_path / "box"
    agent = agent_of(box, publisher.place, publisher)
    settle(agent)
    publisher.release("r2", 2, waves=(parse_wave("100%"),))
    settle(agent)
    assert present(box) == "r2"
    publisher.wave(roll_back)
    set_hours(agent, Times(0))
    assert settle(agent) == "settled"
    assert present(box) == "r1"
    publisher.release("r3", 3)
    assert agent.step() == "waiting"


def test_a_release_that_sees_nothing_does_not_count_as_good(
    publisher: Publisher, tmp_path: Path
) -> None:
    """Frames were answered before it. That no camera answers any more is no error of the model."""
    now = [0.0]
    box, program = tmp_path / "box", TestProgram()
    agent = agent_of(box, publisher.place, publisher, program=program, clock=lambda: now[0])
    settle(agent)
    publisher.release("r2", 2, watch_s=10.0, waves=(parse_wave("100%"),))
    assert agent.step() == "watching"
    program.answers = False
    now[0] += 1000.0
    assert agent.step() == "watching"
    program.answers = True
    assert agent.step() == "settled"
    assert present(box) == "r2"


@pytest.mark.parametrize("answered", [True, False])
def test_a_restart_amid_a_trial_remembers_who_answered(
    publisher: Publisher, tmp_path: Path, answered: bool
) -> None:
    box, program = tmp_path / "box", TestProgram(answered_lately=answered)
    agent = agent_of(box, publisher.place, publisher, program=program)
    settle(agent)
    publisher.release("r2", 2, watch_s=86_400.0, waves=(parse_wave("100%"),))
    assert agent.step() == "watching"
    agent.end()

    after = TestProgram()
    agent_of(box, publisher.place, publisher, program=after)

    assert after.had_to == [answered]


def test_a_release_is_called_off_while_it_is_watched(publisher: Publisher, tmp_path: Path) -> None:
    now = [0.0]
    box, program = tmp_path / "box", TestProgram()
    agent = agent_of(box, publisher.place, publisher, program=program, clock=lambda: now[0])
    settle(agent)
    publisher.release("r2", 2, watch_s=86_400.0, waves=(parse_wave("100%"),))
    assert agent.step() == "watching"
    publisher.wave(pause)
    now[0] += 400.0
    assert agent.step() == "watching"  # who has it keeps it
    publisher.wave(roll_back)
    assert agent.step() == "watching"  # it looks as often as ever, not each second
    now[0] += 400.0
    assert agent.step() == "settled"
    assert present(box) == "r1"
    assert program.calls == ["switch", "switch", "switch"]
    assert not agent.state.failed  # it was no fault of it


def test_a_first_release_is_called_off_for_another(publisher: Publisher, tmp_path: Path) -> None:
    now = [0.0]
    box = tmp_path / "box"
    publisher.release("r2", 2, watch_s=86_400.0, waves=(parse_wave("100%"),))
    agent = agent_of(box, publisher.place, publisher, clock=lambda: now[0])
    assert agent.step() == "watching"
    publisher.wave(pause)
    now[0] += 400.0
    assert agent.step() == "watching"
    publisher.wave(roll_back)
    now[0] += 400.0
    assert agent.step() == "watching"
    assert present(box) == "r1"
    assert agent.step() == "settled"


def test_what_cannot_be_read_calls_nothing_off(publisher: Publisher, tmp_path: Path) -> None:
    now = [0.0]
    box, moved = tmp_path / "box", tmp_path / "moved"
    publisher.release("r2", 2, watch_s=86_400.0)
    agent = agent_of(box, publisher.place, publisher, clock=lambda: now[0])
    agent.step()
    publisher.place.rename(moved)
    now[0] += 400.0
    assert agent.step() == "watching"
    assert present(box) == "r2"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ("full", False)),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ("full", False)),
        (PermissionError(errno.EACCES, "Permission denied"), ("failed", True)),
        (OSError(errno.EIO, "Input/output error"), ("failed", True)),
    ],
)
def test_only_a_full_disk_is_called_full(
    publisher: Publisher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    expected: tuple[str, bool],
) -> None:
    """And only that costs the release before."""
    box = tmp_path / "box"
    agent = agent_of(box, publisher.place, publisher)
    settle(agent)
    publisher.release("r2", 2)
    settle(agent)
    publisher.release("r3", 3)

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("snow_runtime.update.assemble.sync_all", fails)
    state = agent.step()
    assert (state, agent.state.previous is not None) == expected
    assert present(box) == "r2"


def test_no_room_to_be_made_ends_no_agent(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = agent_of(tmp_path / "box", publisher.place, publisher)

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("snow_runtime.update.assemble.sync_all", fails)
    monkeypatch.setattr(Box, "clean", fails)
    assert agent.step() == "full"


def test_downloads_that_come_to_nothing_are_not_repeated_at_every_look(
    publisher: Publisher, tmp_path: Path
) -> None:
    with WebServer(publisher.place) as server:
        server.faults.forge = "/blobs/"
        agent = agent_of(tmp_path / "box", server.url, publisher)
        found = []
        for _ in range(16):
            before = len(server.asked)
            assert agent.step() == "untrusted"
            found.append(any("/blobs/" in path for path, _ in server.asked[before:]))
        assert [at for at, tried in enumerate(found) if tried] == [0, 1, 3, 7, 15]
        server.faults.forge = "\0"
        publisher.release("r2", 2)  # another one is tried at once
        assert settle(agent) == "settled"


def test_patience_ends_and_is_of_one_release() -> None:
    patience = Patience()
    for _ in range(12):
        patience.lose("a", OSError("full"))
    for _ in range(255):
        with pytest.raises(OSError, match="full"):
            patience.check("a")
    patience.check("a")
    patience.lose("a", OSError("full"))
    patience.check("b")


def test_an_agent_that_is_to_end_ends_downloads_and_trials(
    publisher: Publisher, tmp_path: Path
) -> None:
    box, stop = tmp_path / "box", threading.Event()
    told: list[BoxStatus] = []
    ends = ""

    def tell(status: BoxStatus) -> None:
        told.append(status)
        if status.state == ends:
            stop.set()

    for name in ("downloading", "trying"):
        ends = name
        agent = agent_of(box, publisher.place, publisher, tell=tell, try_out=None)
        agent.rounds(stop)
        assert told[-1].state == "ended"
        assert not agent.state.failed
        assert present(box) is None
        stop.clear()
    assert settle(agent_of(box, publisher.place, publisher)) == "settled"


def test_a_download_of_hours_is_told_as_often_as_ever(publisher: Publisher, tmp_path: Path) -> None:
    """Else the table calls a box missing that does what it should."""
    now, told = [0.0], []

    def tell(status: BoxStatus) -> None:
        told.append(status.state)

    agent = agent_of(
        *(tmp_path / "box", publisher.place, publisher), tell=tell, clock=lambda: now[0]
    )
    read = agent._transport.read

    def slowly(path: str, offset: int = 0) -> Any:
        for chunk in read(path, offset):
            now[0] += 400.0 if "blobs" in path else 0.0
            yield chunk

    agent._transport.read = slowly  # type: ignore[method-assign]
    settle(agent)
    assert told.count("downloading") > 2


def ending_trial(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    begun = subprocess.Popen

    def begin(*given: Any, **more: Any) -> Any:
        process = begun(*given, **more)
        work(process)
        return process

    monkeypatch.setattr("snow_runtime.update.trial.subprocess.Popen", begin)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_trial_that_is_ended_from_outside_is_no_fault_of_the_release(
    publisher: Publisher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    number: signal.Signals,
) -> None:
    """A machine that goes down ends all processes."""
    # What a shell starts in the background ignores Ctrl-C, and so would the trial.
    ignored = signal.signal(number, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(number, ignored))
    ending_trial(monkeypatch, lambda process: process.send_signal(number))
    agent = agent_of(tmp_path / "box", publisher.place, publisher, try_out=None)
    assert agent.step() == "failed"
    assert "was ended by" in str(agent.error)
    assert not agent.state.failed


def test_a_trial_that_is_killed_is_one(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does where a release takes too much memory."""
    ending_trial(monkeypatch, lambda process: process.kill())
    agent = agent_of(tmp_path / "box", publisher.place, publisher, try_out=None)
    assert agent.step() == "failed"
    (why,) = agent.state.failed.values()
    assert why.endswith("the process ended with -9: nothing was said")


def test_a_trial_imports_nothing_from_where_the_agent_was_begun(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's stick, with modules on it that are called like ours and Python's."""
    stick = tmp_path / "stick"
    (stick / "snow_runtime").mkdir(parents=True)
    for name in ("snow_runtime/__init__.py", "json.py", "numpy.py", "onnxruntime.py"):
        mark = f"open({str(tmp_path / 'ran')!r}, 'w')"
        (stick / name).write_text(mark, encoding="utf-8")
    monkeypatch.chdir(stick)
    agent = agent_of(tmp_path / "box", publisher.place, publisher, try_out=None)
    assert settle(agent) == "settled", agent.error
    assert not (tmp_path / "ran").exists()


def test_documents_that_count_no_more_are_deleted(publisher: Publisher, tmp_path: Path) -> None:
    box = tmp_path / "box"
    agent = agent_of(box, publisher.place, publisher)
    settle(agent)
    (box / "metadata" / "tmpabc").write_bytes(b"half")
    (box / ".0123.tmp").write_bytes(b"half")
    (box / "incoming" / ".0123.tmp").write_bytes(b"half")
    for number in (2, 3):
        publisher.release(f"r{number}", number)
        settle(agent)
    names = sorted(path.name for path in (box / "metadata" / "targets").iterdir())
    assert names == ["releases%2Fr3.json", "rollout.json"]
    agent_of(box, publisher.place, publisher)
    assert not list(box.rglob("*.tmp"))
    assert not list((box / "metadata").glob("tmp*"))


def test_generations_that_are_links_are_no_way_out(publisher: Publisher, tmp_path: Path) -> None:
    box, outside = tmp_path / "box", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept", encoding="utf-8")
    (box / "generations").mkdir(parents=True)
    (box / "generations" / "link").symlink_to(outside)
    assert settle(agent_of(box, publisher.place, publisher)) == "settled"
    assert (outside / "kept").exists()
    assert not (box / "generations" / "link").is_symlink()


def test_two_agents_in_processes(tmp_path: Path) -> None:
    """The second one is refused, and the first one's lock ends with it, however it does."""
    box = Box(tmp_path / "box")
    code = (
        "import sys, pathlib; from snow_runtime.update.box import Box\n"
        "with Box(pathlib.Path(sys.argv[1])).alone():\n"
        "    print('alone', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(box.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"alone\n"
        with pytest.raises(UpdateError, match="Another agent"), box.alone():
            pass
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with box.alone():
        pass


def test_a_full_disk_in_a_trial_is_no_fault_of_the_release(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snow_runtime.errors import EngineError
    from snow_runtime.update import trial

    def fails(_folder: Path, _release: Release) -> float:
        msg = "snow.engine cannot be written."
        raise EngineError(msg) from OSError(errno.ENOSPC, "No space left on device")

    said: list[str] = []
    monkeypatch.setattr(trial, "measure_release", fails)
    monkeypatch.setattr("builtins.print", lambda text, **_: said.append(text))
    agent = agent_of(tmp_path / "box", publisher.place, publisher)
    settle(agent)
    trial.main((tmp_path / "box" / "current").resolve())
    assert '"full": true' in said[0]


def test_a_machine_that_is_ended_as_it_should_be_is_no_fault_of_the_release(
    publisher: Publisher, tmp_path: Path
) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    publisher.release("r2", 2, watch_s=1000.0)
    assert agent_of(box, publisher.place, publisher).step() == "watching"
    for _ in range(5):
        agent_of(box, publisher.place, publisher).end()
        assert present(box) == "r2"
    for _ in range(2):  # and now it goes down
        agent_of(box, publisher.place, publisher)
        assert present(box) == "r2"
    agent_of(box, publisher.place, publisher)
    assert present(box) == "r1"


def test_an_agent_beside_a_program_that_follows(publisher: Publisher, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from snow_deploy.cli import main

    box, root = Box(tmp_path / "box"), publisher.place / "metadata" / "1.root.json"
    given = ["--box", str(box.folder), "--box-root", str(root)]
    with box.alone():
        for command in (
            ["agent", str(publisher.place), "--once"],
            ["run", "--camera", "synthetic://", "--follow", str(publisher.place)],
        ):
            result = CliRunner().invoke(main, [*command, *given])
            assert result.exit_code == 1
            assert "Another agent looks after" in result.output


def test_a_password_in_the_place_is_warned_of_and_never_shown(
    publisher: Publisher, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from snow_deploy.cli import main

    root = publisher.place / "metadata" / "1.root.json"
    box = tmp_path / "box"
    place = "http://box:hunter22@127.0.0.1:1/updates"
    given = ["agent", place, "--once", "--box", str(box), "--box-root", str(root)]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 1
    assert "a password or token stands on the command line" in result.output
    assert "hunter22" not in result.output
    for path in box.rglob("*"):
        assert not path.is_file() or b"hunter22" not in path.read_bytes()
