from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import click
import pytest

from snow_deploy.cli.signals import Signals, non_blocking_errors

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    def __init__(self) -> None:
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def wait_for(condition: Callable[[], Any]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_before_there_is_a_loop_the_command_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with Signals(), pytest.raises(click.exceptions.Exit) as ended:
        send(signal.SIGTERM)
    assert ended.value.exit_code == 0
    assert capsys.readouterr().err == "ended before it began\n"
    with Signals(), pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_they_stop_the_loop_and_later_do_nothing() -> None:
    loop: Any = Loop()
    with Signals() as signals:
        with signals.guiding(loop, lambda: None):
            send(signal.SIGTERM)
            send(signal.SIGINT)
            assert loop.stops == 2
        send(signal.SIGTERM)  # while the command cleans up
        send(signal.SIGHUP)


def test_loading_anew_is_kept_for_the_loop_and_done_once_for_many() -> None:
    loop: Any = Loop()
    began, go_on = threading.Event(), threading.Event()
    loads: list[int] = []

    def reload() -> None:
        loads.append(1)
        began.set()
        assert go_on.wait(20)

    with Signals() as signals:
        send(signal.SIGHUP)  # while the model is loaded for the first time
        with signals.guiding(loop, reload):
            assert began.wait(20)
            for _ in range(5):
                send(signal.SIGHUP)
            go_on.set()
            wait_for(lambda: len(loads) == 2)
            time.sleep(0.3)
    assert len(loads) == 2
    assert loop.stops == 0


def test_signals_are_given_back() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with Signals():
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


def test_errors_to_a_reader_that_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        began = time.monotonic()
        with non_blocking_errors():
            for number in range(2000):
                click.echo(f"{number} {'x' * 90}", err=True)
        assert time.monotonic() - began < 10
        assert sys.stderr is stream
    with os.fdopen(reading, encoding="utf-8") as stream:
        assert stream.readline().startswith("0 x")


def test_what_libraries_write_to_the_descriptor_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with non_blocking_errors():
            for number in range(20_000):
                ctypes.CDLL(None).dprintf(writing, b"a warning %d of a library\n", number)
            click.echo("our own words", err=True)
    with os.fdopen(reading, encoding="utf-8") as stream:
        said = stream.read().splitlines()
    assert len(said) < 20
    assert "our own words" in said


def test_an_error_at_the_end_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(ZeroDivisionError), non_blocking_errors():
            raise ZeroDivisionError
        for _ in range(2000):
            click.echo("x" * 100, err=True)
    os.close(reading)


def test_another_loop_may_follow_and_the_end_is_remembered() -> None:
    first, second, reloads = Loop(), Loop(), []
    given: Any = first, second
    with Signals() as signals:
        with signals.guiding(given[0], lambda: reloads.append("first")):
            assert not signals.asked_to_end
        signals.begin_anew()
        with signals.guiding(given[1], lambda: reloads.append("second")):
            send(signal.SIGHUP)
            wait_for(lambda: reloads)
            send(signal.SIGTERM)
        assert signals.asked_to_end
    assert (first.stops, second.stops, reloads) == (0, 1, ["second"])


def test_between_two_loops_the_command_ends() -> None:
    loop: Any = Loop()
    with Signals() as signals:
        with signals.guiding(loop, lambda: None):
            pass
        signals.begin_anew()
        with pytest.raises(click.exceptions.Exit) as ended:
            send(signal.SIGTERM)
    assert ended.value.exit_code == 0
