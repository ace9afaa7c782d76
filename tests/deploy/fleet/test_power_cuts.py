"""A process that is killed at any line of an update: the next one ends in a version that works."""

from __future__ import annotations

import os
import random
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.update.box import Box
from tests.deploy.fleet.publications import Publisher, agent_of, present, settle

if TYPE_CHECKING:
    from pathlib import Path

WATCHED = ("snow_runtime/update/", "snow_runtime/files.py", "tuf/ngclient/updater.py")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="kills forked processes"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def killed_at(line: int | None, work: Any) -> int | None:
    """Do work in a process that is killed at a line of the code under test.

    Args:
        line: Number of the line, counted as they run; None for no end.
        work: The work.

    Returns:
        How many lines ran; None where the process was killed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        ran = 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal ran
            if not any(name in frame.f_code.co_filename for name in WATCHED):
                return None
            if event == "line":
                ran += 1
                if ran == line:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        work()
        sys.settrace(None)
        os.write(writing, str(ran).encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    told = os.read(reading, 64)
    os.close(reading)
    if os.WIFSIGNALED(status):
        return None
    assert status == 0
    return int(told)


@pytest.mark.parametrize("cuts", [10, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_kill_at_random_lines(publisher: Publisher, tmp_path: Path, cuts: int) -> None:
    began = tmp_path / "began"
    settle(agent_of(began, publisher.place, publisher))
    publisher.release("r2", 2, budget_ms=1000.0)
    graphs = {
        name: (began / "current" / "snow.onnx").read_bytes() if name == "r1" else None
        for name in ("r1", "r2")
    }
    graphs["r2"] = (publisher.folder / "snow.onnx").read_bytes()

    def update(folder: Path) -> None:
        assert settle(agent_of(folder, publisher.place, None)) == "settled"

    def copy(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        os.system(f"cp -a {began}/. {folder}/")  # noqa: S605 - quicker than shutil, and keeps links
        return folder

    lines = killed_at(None, lambda: update(copy("whole")))
    assert lines is not None
    draw = random.Random(cuts)
    ended = set()
    for number in range(cuts):
        folder = copy(str(number))
        cut = draw.randrange(1, lines)
        assert killed_at(cut, lambda folder=folder: update(folder)) is None
        # Before anything is set right: what the pointer names is whole.
        name = present(folder)
        assert name in graphs, cut
        assert (folder / "current" / "snow.onnx").read_bytes() == graphs[name], cut
        ended.add(name)
        # And the next process ends where the first one would have.
        update(folder)
        assert present(folder) == "r2", cut
        assert (folder / "current" / "snow.onnx").read_bytes() == graphs["r2"], cut
        assert Box(folder).state().trial is None
        os.system(f"rm -rf {folder}")  # noqa: S605
    assert cuts < 100 or ended == {"r1", "r2"}


@pytest.mark.slow
def test_two_kills_in_a_row_and_a_way_back(publisher: Publisher, tmp_path: Path) -> None:
    """Killed while it goes back, and killed again while that is set right."""
    from tests.deploy.fleet.publications import TestProgram

    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    publisher.release("r2", 2, watch_s=1000.0)
    assert agent_of(box, publisher.place, None).step() == "watching"

    def go_back(folder: Path) -> None:
        program = TestProgram(faults=["it crashed"])
        agent_of(folder, publisher.place, None, program=program).step()

    def copy(name: str) -> Path:
        os.system(f"cp -a {box} {tmp_path / name}")  # noqa: S605
        return tmp_path / name

    lines = killed_at(None, lambda: go_back(copy("whole")))
    assert present(tmp_path / "whole") == "r1"
    assert lines is not None
    draw = random.Random(8)
    for number in range(8):
        folder = copy(str(number))
        for _ in range(2):
            killed_at(draw.randrange(1, lines), lambda folder=folder: go_back(folder))
            assert present(folder) in {"r1", "r2"}
        go_back(folder)
        assert present(folder) == "r1"
        assert "r2" in agent_of(folder, publisher.place, None).status("failed").failed


def test_what_the_box_knows_is_lost(publisher: Publisher, tmp_path: Path) -> None:
    """A disk that lost the file: what the pointer names goes on."""
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    for damage in (b"", b"{", b'{"format": 2}'):
        (box / "state.json").write_bytes(damage)
        agent = agent_of(box, publisher.place, None)
        assert present(box) == "r1"
        assert settle(agent) == "settled"


def test_files_of_the_present_generation_are_lost(publisher: Publisher, tmp_path: Path) -> None:
    box = tmp_path / "box"
    settle(agent_of(box, publisher.place, publisher))
    publisher.release("r2", 2)
    settle(agent_of(box, publisher.place, None))
    (next((box / "generations").glob("*-r2-*")) / "release.json").unlink()
    agent = agent_of(box, publisher.place, None)
    assert present(box) == "r1"  # it goes back to what is whole
    assert settle(agent) == "settled"
    assert present(box) == "r2"
