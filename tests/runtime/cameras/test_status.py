from __future__ import annotations

from snow_runtime.cameras.clock import Clock
from snow_runtime.cameras.status import Counters, Journal


class Hand(Clock):
    """A clock that is set by hand."""

    seconds = 100.0

    def monotonic_s(self) -> float:
        return self.seconds


def test_from_connecting_to_connected_and_back() -> None:
    clock = Hand()
    journal = Journal(clock)

    def now() -> tuple[str, float, str | None]:
        status = journal.status
        assert not status.final
        return status.state, status.since.monotonic_s, status.error

    assert now() == ("connecting", 100, None)
    clock.seconds = 101
    journal.lost("no answer")
    assert now() == ("connecting", 100, "no answer")
    clock.seconds = 102
    assert journal.frame(0) == 0
    assert now() == ("connected", 102, "no answer")
    clock.seconds = 103
    assert journal.frame(0) == 1
    assert now() == ("connected", 102, "no answer")
    clock.seconds = 105
    journal.lost("no data")
    assert now() == ("reconnecting", 105, "no data")


def test_time_without_pictures_counts_from_the_last_to_the_next() -> None:
    clock = Hand()
    journal = Journal(clock)
    journal.frame(0)
    clock.seconds = 103
    journal.lost("no data")
    clock.seconds = 110
    assert journal.counters.lost_s == 10
    journal.frame(0)
    clock.seconds = 120
    assert journal.counters.lost_s == 10
    assert journal.counters.reconnections == 1

    journal.lost("again")
    clock.seconds = 121
    journal.finish("closed")
    clock.seconds = 130
    assert journal.counters.lost_s == 10 + 11
    assert journal.counters.reconnections == 1


def test_the_first_connection_is_no_reconnection() -> None:
    journal = Journal(Hand())
    journal.lost("no answer")
    journal.frame(0)

    assert journal.counters == Counters(frames=1)


def test_pictures_passed_over_are_numbered_and_dropped() -> None:
    journal = Journal(Hand())

    assert [journal.frame(0), journal.frame(2), journal.frame(0)] == [0, 3, 4]
    assert (journal.counters.frames, journal.counters.drops) == (5, 2)


def test_the_first_final_state_stays() -> None:
    journal = Journal(Hand())
    journal.finish("failed", "why")
    journal.finish("closed")
    journal.lost("late")
    journal.frame(0)

    assert journal.status.final
    assert journal.status.state == "failed"
