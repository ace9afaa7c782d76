"""Plain processes that score shards, each with a model of its own.

A process that ends in the middle of a shard (the kernel ends one when memory runs out) is replaced,
and the shard done again. The picture that it ended at is noted; if it ends a second process, it
gets a row that says so, and the shard goes on. concurrent.futures gives a whole pool up when one
process ends, and does not know at what.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import SnowError
from snow_runtime.score.errors import OutputError, ScoreError, ShardError
from snow_runtime.score.events import Advanced, Died, Event, Failed, Finished
from snow_runtime.score.shard_worker import ShardWorker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.connection import Connection

    from snow_runtime.score.shard_worker import Order, Setup

_TELL_S: Final = 0.25
_DEATHS_AT_A_PICTURE: Final = 2
_DEATHS_OF_A_SHARD: Final = 6
_NOWHERE: Final = -1


@dataclass
class _Worker:
    """A process and what it works on."""

    process: Any
    connection: Connection
    cursor: Any  # number of the picture that it looks at, in shared memory
    order: Order | None = None


@dataclass
class ProcessPool:
    """Processes that score shards.

    Attributes:
        setup: What each needs to begin.
        processes: How many there are at once.
    """

    setup: Setup
    processes: int
    _workers: list[_Worker] = field(default_factory=list)
    _deaths: Counter[tuple[int, int]] = field(default_factory=Counter)

    def run(self, orders: Iterable[Order]) -> Iterator[Event]:
        """Score shards and yield what happens; the processes wait for more until `close`.

        Raises:
            OutputError: The output refuses a part; nothing can go on.
            SnowError: A process cannot load the model.
            ScoreError: Processes end before they begin.
        """
        waiting: deque[Order] = deque()
        source = iter(orders)
        while True:
            for order in source:
                waiting.append(order)
                if len(waiting) >= self.processes:
                    break
            self._hand_out(waiting)
            if not any(worker.order for worker in self._workers) and not waiting:
                return
            yield from self._heard(waiting)

    def _hand_out(self, waiting: deque[Order]) -> None:
        for worker in self._workers:
            if worker.order is None and waiting:
                self._give(worker, waiting.popleft())
        while waiting and len(self._workers) < self.processes:
            worker = _start(self.setup)
            self._workers.append(worker)
            self._give(worker, waiting.popleft())

    def _give(self, worker: _Worker, order: Order) -> None:
        worker.order = order
        worker.cursor.value = _NOWHERE
        with contextlib.suppress(OSError):  # it has ended: its sentinel tells
            worker.connection.send(order)

    def _heard(self, waiting: deque[Order]) -> Iterator[Event]:
        """Wait for a message or an end, and yield what it means."""
        ready = wait([each.connection for each in self._workers])
        for worker in [each for each in self._workers if each.connection in ready]:
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                yield from self._buried(worker, waiting)
                continue
            if isinstance(message, SnowError):
                raise message
            if isinstance(message, (Finished, Failed)):
                worker.order = None
            yield message

    def _buried(self, worker: _Worker, waiting: deque[Order]) -> Iterator[Event]:
        """Take a process that ended out of the pool, and let its shard be done again."""
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        order, how = worker.order, _how(worker.process.exitcode)
        if order is None:
            return
        at = worker.cursor.value
        self._deaths[order.number, at] += 1
        total = sum(count for (number, _), count in self._deaths.items() if number == order.number)
        if at == _NOWHERE and self._deaths[order.number, at] >= _DEATHS_AT_A_PICTURE:
            msg = (
                f"A process that scores {how} before it looked at a picture, twice. What it wrote "
                "to standard error says why; without any word there may be no memory for a model "
                "in each process: give fewer --processes."
            )
            raise ScoreError(msg)
        yield Died(order.number, how)
        if total >= _DEATHS_OF_A_SHARD:
            reason = f"{total} processes ended at it, the last one {how}. Give fewer --processes."
            yield Failed(order.number, reason)
            return
        yield Advanced(order.number, 0)
        if self._deaths[order.number, at] >= _DEATHS_AT_A_PICTURE:
            order = replace(order, skipped=(*order.skipped, at))
        waiting.appendleft(order)

    def close(self) -> None:
        """End all processes, also those that are at work."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.connection.send(None)
        for worker in self._workers:
            if worker.order is not None:
                worker.process.terminate()
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
        self._workers.clear()


def _start(setup: Setup) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a forked ONNX Runtime would hang
    mine, its = context.Pipe()
    cursor = context.RawValue("q", _NOWHERE)
    process = context.Process(
        target=_work, args=(setup, its, cursor), name="snow-deploy score", daemon=True
    )
    process.start()
    its.close()
    return _Worker(process, mine, cursor)


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"was ended by {name}"


def _work(setup: Setup, connection: Connection, cursor: Any) -> None:
    """Score shards that come over a pipe until None comes or the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        try:
            worker = ShardWorker(setup)
        except SnowError as error:
            connection.send(error)
            return
        while (order := connection.recv()) is not None:
            connection.send(_scored(worker, order, connection, cursor))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has ended; what it left half-written has no name yet


def _scored(worker: ShardWorker, order: Order, connection: Connection, cursor: Any) -> object:
    told = time.monotonic()

    def begin(number: int) -> None:
        cursor.value = number

    def done(rows: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _TELL_S:
            told = now
            connection.send(Advanced(order.number, rows))

    try:
        return Finished(order.number, worker.work(order, begin, done))
    except OutputError as error:
        return error
    except ShardError as error:
        return Failed(order.number, str(error))
