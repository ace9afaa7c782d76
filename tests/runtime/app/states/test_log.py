from __future__ import annotations

from snow_runtime.app.states.event import Change, StateEvent, StateNews, StateNow
from snow_runtime.app.states.log import KEPT, StateLog
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
    for number in range(10 * KEPT):
        log.tell(StateNews((change("latch", number),), both))

    assert numbers(log) == [1, *range(9 * KEPT + 2, 10 * KEPT + 2)]


def test_what_is_no_state_any_more_is_forgotten() -> None:
    log = StateLog()
    for number in range(100):
        log.tell(StateNews((change(f"q{number}", 1),), (now(f"q{number}"),)))
    assert numbers(log) == [100]

    log.tell(StateNews((change("q99", 1), change("mat", 1, "wet")), (now("mat", "dry"),)))
    assert (numbers(log), log.states) == ([], (now("mat", "dry"),))
