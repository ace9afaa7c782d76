"""`run --follow` between two plans: releases that come meanwhile, and another broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from snow_deploy.cli.follower import Follower, StatusTeller

if TYPE_CHECKING:
    import pytest

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
        def reload() -> str | None:
            loaded.append(name)
            return why

        return reload

    with follower.attached(load("first"), lambda: (0, 0, 0.0)):
        program.switch(None)
    program.switch(None)  # none is there
    assert loaded == ["first"]

    with follower.attached(load("second", "it does not load"), lambda: (0, 0, 0.0)):
        assert loaded == ["first", "second"]
        assert program.fault() == "it does not load"
    with follower.attached(load("third"), lambda: (0, 0, 0.0)):
        assert loaded == ["first", "second"]


def test_the_box_tells_the_broker_of_the_plan_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, object]] = []
    closed: list[str] = []

    class Publisher:
        def __init__(self, url: str, _options: object) -> None:
            self.url = url

        def put(self, status: object) -> None:
            told.append((self.url, status))

        def close(self) -> None:
            closed.append(self.url)

    monkeypatch.setattr("snow_runtime.app.outputs.box_status.BoxStatusPublisher", Publisher)
    files = dict.fromkeys(("mqtt_ca", "mqtt_cert", "mqtt_key"))
    teller, first, second = StatusTeller(), "mqtt://me:a@one", "mqtt://me:b@one"
    status: Any = "settled"
    teller.tell_by("jsonl", None, files)
    teller.put(status)
    assert told == []
    teller.tell_by("mqtt", first, files)
    teller.tell_by("mqtt", first, files)
    assert told == [(first, status)]
    teller.follow(SimpleNamespace(output="mqtt", mqtt=second, **files))  # type: ignore[arg-type]
    assert told[1:] == [(second, status)]
    teller.close()
    assert sorted(closed) == [first, second]
