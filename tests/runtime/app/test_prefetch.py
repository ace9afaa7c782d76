from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.app.prefetch import Prefetcher
from snow_runtime.errors import InputError
from tests.runtime.app.frames import frame_of

if TYPE_CHECKING:
    from snow_runtime.cameras import Frame

LONG_S = 10.0


def prepared(frames: list[Frame]) -> Any:
    return [frame.number for frame in frames]


def numbered() -> Any:
    """Give a fetch that counts: one frame each time, without end."""
    numbers = iter(range(10**6))
    return lambda: [frame_of(number=next(numbers))]


def test_the_next_frames_are_prepared_while_the_model_computes() -> None:
    second = threading.Event()

    def prepare(frames: list[Frame]) -> Any:
        if frames[0].number == 1:
            second.set()
        return prepared(frames)

    with Prefetcher(numbered(), prepare) as ahead:
        assert ahead.next(LONG_S).prepared == [0]  # type: ignore[union-attr]
        assert second.wait(LONG_S)  # nobody has asked for it yet
        assert ahead.next(LONG_S).prepared == [1]  # type: ignore[union-attr]


def test_frames_come_in_order_and_none_is_lost() -> None:
    frames = [[frame_of(number=n)] for n in range(50)]
    with Prefetcher(lambda: frames.pop(0) if frames else None, prepared) as ahead:
        found: list[Any] = []
        while (ready := ahead.next(LONG_S)) is not None:
            found.append(ready.prepared)
        assert ahead.ended
    assert found == [[n] for n in range(50)]
    assert ahead.unused == 0


def test_what_cannot_be_prepared_comes_with_its_error() -> None:
    def prepare(frames: list[Frame]) -> Any:
        msg = f"frame {frames[0].number}"
        raise InputError(msg)

    with Prefetcher(numbered(), prepare) as ahead:
        ready = ahead.next(LONG_S)
    assert ready is not None
    assert isinstance(ready.prepared, InputError)
    assert str(ready.prepared) == "frame 0"
    assert [frame.number for frame in ready.frames] == [0]


def test_a_failure_of_the_thread_reaches_whoever_asks() -> None:
    def fetch() -> list[Frame]:
        msg = "a defect"
        raise ZeroDivisionError(msg)

    with Prefetcher(fetch, prepared) as ahead, pytest.raises(ZeroDivisionError, match="a defect"):
        ahead.next(LONG_S)


def test_nothing_in_time_is_none_and_not_the_end() -> None:
    come = threading.Event()

    def fetch() -> list[Frame]:
        return [frame_of()] if come.wait(0.01) else []

    with Prefetcher(fetch, prepared) as ahead:
        assert ahead.next(0.05) is None
        assert not ahead.ended
        come.set()
        assert ahead.next(LONG_S) is not None


def test_what_was_ready_and_not_fetched_is_told() -> None:
    ready = threading.Event()

    def prepare(frames: list[Frame]) -> Any:
        ready.set()
        return prepared(frames)

    frames = [[frame_of("a"), frame_of("b")]]
    ahead = Prefetcher(lambda: frames.pop(0) if frames else None, prepare)
    with ahead:
        assert ready.wait(LONG_S)
        while not ahead.unused:
            time.sleep(0.001)
    assert ahead.unused == 2


def test_frames_are_taken_just_before_the_model_needs_them() -> None:
    """At a model of 200 ms and frames that are prepared at once, none is older than half of it."""
    taken: list[float] = []

    def fetch() -> list[Frame]:
        taken.append(time.monotonic())
        return [frame_of()]

    ages = []
    with Prefetcher(fetch, prepared) as ahead:
        for _ in range(5):
            assert ahead.next(LONG_S) is not None
            ages.append(time.monotonic() - taken[-1])
            time.sleep(0.2)
    assert min(ages[2:]) < 0.1
