"""A disk that really is full, at every point of an update: a file system of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_runtime.files import free_bytes
from snow_runtime.update import assemble
from tests.deploy.fleet.publications import agent_of, present, settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.deploy.fleet.publications import Publisher

PAGE = 4096


def fill(disk: Path, left: int) -> Path:
    """Leave so many pages of a disk free."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as stream:
        while free_bytes(disk) > left * PAGE:
            stream.write(bytes(PAGE))
    return path


@pytest.mark.parametrize("looks", [False, True])
def test_the_present_release_goes_on(
    publisher: Publisher,
    tmp_path: Path,
    mount_disk: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    looks: bool,
) -> None:
    disk = mount_disk("3m")
    box = disk / "box"
    if looks:
        monkeypatch.setattr(assemble, "RESERVE_BYTES", PAGE)
    else:  # somebody else fills it meanwhile
        monkeypatch.setattr(assemble, "_check_room", lambda *_: None)
    assert settle(agent_of(box, publisher.place, publisher)) == "settled"
    publisher.release("r2", 2, budget_ms=1e6)
    graph = (box / "current" / "snow.onnx").read_bytes()
    ends = set()
    for left in (0, 1, 2, 4, 8, 16, 24, 32, 48, 60):
        filler = fill(disk, left)
        agent = agent_of(box, publisher.place, None)
        for _ in range(2):
            state = agent.step()
            assert present(box) in {"r1", "r2"}, left
            if present(box) == "r1":
                assert (box / "current" / "snow.onnx").read_bytes() == graph, left
            if state == "watching":
                state = agent.step()
        ends.add((present(box), state))
        filler.unlink()
        if present(box) == "r2":
            break
    assert ("r1", "full") in ends
    agent = agent_of(box, publisher.place, None)
    assert settle(agent) == "settled", agent.error
    assert present(box) == "r2"
    whole = (publisher.folder / "snow.onnx").read_bytes()
    assert (box / "current" / "snow.onnx").read_bytes() == whole
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_way_back_needs_no_room(
    publisher: Publisher, mount_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not it can be noted that a release failed, the one before is back."""
    from tests.deploy.fleet.publications import TestProgram

    monkeypatch.setattr(assemble, "RESERVE_BYTES", PAGE)
    disk = mount_disk("3m")
    box, program = disk / "box", TestProgram()
    agent = agent_of(box, publisher.place, publisher, program=program)
    settle(agent)
    publisher.release("r2", 2, watch_s=1000.0)
    assert agent.step() == "watching"
    fill(disk, 0)
    program.faults = ["it crashed"]
    assert agent.step() in {"failed", "full"}
    assert present(box) == "r1"
    assert program.calls[-1] == "switch"
