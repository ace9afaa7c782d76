from __future__ import annotations

from snow_runtime.app.states.event import Change, StateEvent, StateNews, StateNow
from snow_runtime.app.states.log import KEPT, NEWEST, StateLog
from snow_runtime.cameras.clock import Instant


def change(question: str, number: int, label: str | None = None) -> StateEvent:
    at = Instant(number, 1e9 + number)
    return StateEvent("door", question, label, Change("a", f"b{number}", "answers", at, None))


def now(question: str, label: str | None = None) -> StateNow:
    return StateNow("door", question, label, "b", 1e9)


def numbers(log: StateLog, since: int = 0) -> list[int]:
    return [number for number, _ in log.since(since)]


def test_changes_are_numbered_and_kept_in_order() -> None:
    log = StateLog()
    log.tell(StateNews((change("latch", 1), change("mat", 2)), (now("latch"), now("mat"))))
    log.tell(StateNews((change("latch", 3),), (now("latch"), now("mat"))))

    assert log.states == (now("latch"), now("mat"))
    assert [(n, event.question) for n, event in log.since(0)] == [
        (1, "latch"),
        (2, "mat"),
        (3, "latch"),
    ]
    assert numbers(log, 2) == [3]
    assert numbers(log, 3) == []


def test_one_state_that_changes_often_takes_no_room_from_another() -> None:
    log = StateLog()
    both = now("latch"), now("mat", "wet")
    log.tell(StateNews((change("mat", 0, "wet"),), both))
    for number in range(10 * NEWEST):
        log.tell(StateNews((change("latch", number),), both))
    assert numbers(log) == [1, *range(9 * NEWEST + 2, 10 * NEWEST + 2)]

    for number in range(NEWEST):
        log.tell(StateNews((change("mat", number, "wet"),), both))
    latch = range(10 * NEWEST + 2 - KEPT, 10 * NEWEST + 2)
    assert numbers(log) == [*latch, *range(10 * NEWEST + 2, 11 * NEWEST + 2)]


def test_what_is_no_state_any_more_is_forgotten() -> None:
    log = StateLog()
    for number in range(3 * NEWEST):
        log.tell(StateNews((change(f"q{number}", 1),), (now(f"q{number}"),)))
    assert numbers(log) == [*range(2 * NEWEST + 1, 3 * NEWEST + 1)]
    assert len(log._events) == 1


def test_the_end_of_a_state_is_told_though_it_is_none_any_more() -> None:
    log = StateLog()
    log.tell(StateNews((change("mat", 1, "wet"),), (now("mat", "wet"),)))
    log.tell(StateNews((change("mat", 2, "wet"),), ()))
    assert (numbers(log, 1), log.states) == ([2], ())
