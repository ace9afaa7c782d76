"""Events to an HTTP address, each once at least and in their order."""

from __future__ import annotations

import json
import logging
import queue
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from snow_runtime.app.outputs.event_queue import EventQueue
from snow_runtime.app.throttled_logger import ThrottledLogger
from snow_runtime.cameras.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_runtime.app.answers import FrameAnswer
    from snow_runtime.app.outputs.webhook_target import WebhookTarget
    from snow_runtime.app.states.event import StateNews

_LOGGER = logging.getLogger(__name__)
MOST: Final = 10_000
"""So many events wait on the disk at most."""
_WAITING: Final = 1000  # for the disk
_END_S: Final = 0.4
_LONGEST_S: Final = 300.0
_REFUSED: Final = frozenset({400, 413, 422})  # what says that this event will never do


class Webhook:
    """Posts each event as JSON until it is taken; events wait in a file that outlives the process.

    Nothing of it holds up who tells it: one thread writes the file, another one posts. The oldest
    event goes first. It is tried again, less and less often, until it is answered by 2xx, or
    refused by 400, 413 or 422. It may come twice; its `X-Event-Id` stays the same.

    Args:
        target: Where to post.
        count: Callback that gets `webhook_lost` for each event that had to give way to newer ones
            or that the disk did not take, and `webhook_refused` for each that was refused.
        path: File of the events that wait.
        most: So many wait at most.
        backoff: How long to wait between attempts.

    Raises:
        InputError: The file cannot be used.
    """

    def __init__(
        self,
        target: WebhookTarget,
        count: Callable[[str], None],
        path: Path,
        most: int = MOST,
        backoff: Backoff | None = None,
    ) -> None:
        self._target = target
        self._count = count
        self._path = path
        self._backoff = backoff or Backoff(1.0, 60.0)
        self._events = EventQueue(path, most)
        self._told: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._faults = ThrottledLogger(_LOGGER)
        self._ending = threading.Event()
        self._new = threading.Event()
        self._fails = False
        self._threads = [
            threading.Thread(target=work, name=f"webhook {name}", daemon=True)
            for name, work in (("disk", self._write), ("post", self._send))
        ]
        for thread in self._threads:
            thread.start()

    def put(self, answer: FrameAnswer) -> None:
        """Drop it: events alone are posted."""

    def tell(self, news: StateNews) -> None:
        """Take events; count those for which there is no room."""
        for _, message in news.messages:
            self._take(json.dumps(message))

    def close(self) -> None:
        """Put everything on the disk, and leave there what is not posted within half a second."""
        ends = time.monotonic() + _END_S
        with suppress(queue.Full):
            self._told.put(None, timeout=_END_S)
        self._threads[0].join(max(0.0, ends - time.monotonic()))
        while len(self._events) and not self._fails and time.monotonic() < ends:
            time.sleep(0.01)
        self._ending.set()
        self._new.set()
        self._threads[1].join(max(0.05, ends - time.monotonic()))
        left = len(self._events)
        self._events.close()
        if left:
            _LOGGER.warning("%d events wait in %s for the next start", left, self._path)

    def _take(self, body: str) -> None:
        try:
            self._told.put_nowait(body)
        except queue.Full:  # the disk hangs
            self._count("webhook_lost")

    def _write(self) -> None:
        """Bring what is told to the disk."""
        while (body := self._told.get()) is not None:
            try:
                lost = self._events.put(body)
            except OSError as error:
                lost = 1
                self._faults.warning(f"an event cannot be written to {self._path}: {error}")
            for _ in range(lost):
                self._count("webhook_lost")
            self._new.set()

    def _send(self) -> None:
        """Post what is on the disk, the oldest first."""
        failures, rng = 0, random.Random()
        while not self._ending.is_set():
            self._new.clear()
            try:
                wait_s = self._post_oldest()
            except OSError as error:
                self._tell_fails(str(error) or type(error).__name__)
                wait_s = 0.0
            if wait_s is None:
                failures = 0
                continue
            if not self._fails:
                self._new.wait()
                continue
            self._ending.wait(max(wait_s, self._backoff.delay_s(failures, rng)))
            failures += 1

    def _post_oldest(self) -> float | None:
        """Post one event; return None where it is done with, else for how long to wait at least."""
        event = self._events.oldest()
        if event is None:
            return 0.0
        status, retry_after = self._target.post(event.body, event.id)
        if status // 100 != 2 and status not in _REFUSED:
            leads = ": it leads elsewhere; give that address" if status // 100 == 3 else ""
            self._tell_fails(f"it answers {status}{leads}")
            return _seconds(retry_after)
        try:
            self._events.remove(event)
        except OSError as error:  # a full disk forgets nothing either
            self._faults.warning(
                f"an event that was posted stays in {self._path}, and comes again after the next "
                f"start: {error}"
            )
        if status in _REFUSED:
            self._count("webhook_refused")
            self._faults.warning(f"The webhook {self._target.where} refuses an event: {status}.")
        elif self._fails:
            _LOGGER.warning("The webhook %s takes events again.", self._target.where)
        self._fails = False
        return None

    def _tell_fails(self, why: str) -> None:
        """Log that it does not work when that begins, not at each attempt."""
        if not self._fails and not self._ending.is_set():
            where = self._target.where
            _LOGGER.warning("The webhook %s takes no events: %s. Trying again.", where, why)
        self._fails = True


def _seconds(retry_after: str | None) -> float:
    """Read a `Retry-After` of seconds; one that is a date, or too long, is not followed."""
    given = (retry_after or "").strip()
    return min(float(given), _LONGEST_S) if given.isdecimal() and given.isascii() else 0.0
