"""Releases that come while `run --follow` has no loop, between two plans."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from snow_deploy.cli.follower import Follower

if TYPE_CHECKING:
    from snow_runtime.update.program import WithinProgram


def followed() -> tuple[Follower, WithinProgram]:
    programs: list[WithinProgram] = []

    def make(program: WithinProgram) -> Any:
        programs.append(program)
        return SimpleNamespace(begin=lambda: None, rounds=lambda _stop: None)

    box: Any = None
    return Follower(box, make), programs[0]


def test_a_switch_between_two_loops_goes_to_the_next_one() -> None:
    follower, program = followed()
    loaded: list[str] = []

    def load(name: str, why: str | None = None) -> Any:
        return lambda: (loaded.append(name), why)[1]

    with follower.attached(load("first"), lambda: (0, 0, 0.0)):
        program.switch(None)
    program.switch(None)  # none is there
    assert loaded == ["first"]

    with follower.attached(load("second", "it does not load"), lambda: (0, 0, 0.0)):
        assert loaded == ["first", "second"]
        assert program.fault() == "it does not load"
    with follower.attached(load("third"), lambda: (0, 0, 0.0)):
        assert loaded == ["first", "second"]
