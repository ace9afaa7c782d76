from __future__ import annotations

import threading
import time

import numpy as np

from snow_runtime.cameras import Frame, Instant
from snow_runtime.cameras.mailbox import Mailbox
from tests.runtime.cameras.eventually import eventually

NEVER = threading.Event()


def frame(number: int, age_s: float = 0.0) -> Frame:
    at = Instant(time.monotonic() - age_s, 0)
    return Frame(np.zeros((1, 1, 3), np.uint8), number, at, "test")


def taken(mailbox: Mailbox) -> int | None:
    found = mailbox.take(0)
    return None if found is None else found.number


def newest(drops: list[int], fresh_s: float | None = None) -> Mailbox:
    return Mailbox(1, overwrite=True, dropped=drops.append, fresh_s=fresh_s)


def every(drops: list[int], capacity: int = 2) -> Mailbox:
    return Mailbox(capacity, overwrite=False, dropped=drops.append)


def test_a_new_frame_takes_the_place_of_the_old_one() -> None:
    drops: list[int] = []
    mailbox = newest(drops)
    for number in range(3):
        mailbox.put(frame(number), NEVER)

    assert (taken(mailbox), taken(mailbox)) == (2, None)
    assert drops == [1, 1]


def test_a_frame_that_waited_for_too_long_is_thrown_away() -> None:
    drops: list[int] = []
    mailbox = newest(drops, fresh_s=1)
    mailbox.put(frame(0, age_s=1.5), NEVER)

    assert taken(mailbox) is None
    assert drops == [1]
    mailbox.put(frame(1, age_s=0.5), NEVER)
    assert taken(mailbox) == 1


def test_whoever_puts_waits_for_room() -> None:
    mailbox = every([])
    for number in range(2):
        mailbox.put(frame(number), NEVER)
    thread = threading.Thread(target=mailbox.put, args=[frame(2), NEVER])
    thread.start()

    assert thread.is_alive()
    assert taken(mailbox) == 0
    thread.join(10)
    assert [taken(mailbox) for _ in range(3)] == [1, 2, None]


def test_whoever_waits_for_room_can_be_told_to_give_up() -> None:
    drops: list[int] = []
    mailbox, cancelled = every(drops, 1), threading.Event()
    mailbox.put(frame(0), cancelled)
    thread = threading.Thread(target=mailbox.put, args=[frame(1), cancelled])
    thread.start()
    cancelled.set()
    mailbox.wake()
    thread.join(10)

    assert not thread.is_alive()
    assert drops == [1]
    assert (taken(mailbox), taken(mailbox)) == (0, None)


def test_after_the_end_what_waits_is_still_handed_out() -> None:
    mailbox = every([])
    mailbox.put(frame(0), NEVER)
    mailbox.finish()

    assert not mailbox.finished
    assert taken(mailbox) == 0
    assert mailbox.finished
    assert mailbox.take(None) is None


def test_the_end_wakes_whoever_waits_for_a_frame() -> None:
    mailbox, found = every([]), [frame(0)]
    thread = threading.Thread(target=lambda: found.append(mailbox.take(None)))  # type: ignore[arg-type]
    thread.start()
    mailbox.finish(discard=True)
    thread.join(10)

    assert found[1:] == [None]


def test_after_the_end_nothing_is_let_in() -> None:
    drops: list[int] = []
    mailbox = every(drops)
    mailbox.put(frame(0), NEVER)
    mailbox.finish(discard=True)
    mailbox.put(frame(1), NEVER)

    assert taken(mailbox) is None
    assert drops == [1, 1]


def test_a_reader_waits_no_longer_than_told() -> None:
    start = time.monotonic()

    assert newest([]).take(0.05) is None
    assert 0.05 <= time.monotonic() - start < 5


def test_listeners_are_told() -> None:
    mailbox, event = every([]), threading.Event()
    mailbox.listen(event)
    assert not event.is_set()
    mailbox.put(frame(0), NEVER)
    assert event.is_set()

    late = threading.Event()
    mailbox.listen(late)
    assert late.is_set()

    event.clear()
    mailbox.unlisten(event)
    mailbox.unlisten(event)
    late.clear()
    mailbox.finish()
    assert late.is_set()
    assert not event.is_set()


def test_each_frame_goes_to_one_reader() -> None:
    mailbox = every([], 3)
    found: list[int] = []

    def read() -> None:
        while (got := mailbox.take(None)) is not None:
            found.append(got.number)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(300):
        mailbox.put(frame(number), NEVER)
    mailbox.finish()
    for reader in readers:
        reader.join(10)

    eventually(lambda: mailbox.finished)
    assert sorted(found) == list(range(300))
