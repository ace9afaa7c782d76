"""How many threads linear algebra takes while a readout is fitted.

L-BFGS is thousands of small products. On a machine that is busy, with frames to answer say, a BLAS
that waits for its other threads at each of them is many times slower than one thread alone. So each
regression has one thread, and two regressions go on at a time. That also adds sums up in the same
order on every machine.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from snow_runtime.readout.import_learn import import_learn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_AT_A_TIME: Final = 2
_at_a_time: ContextVar[int] = ContextVar("regressions at a time", default=_AT_A_TIME)


def one_thread() -> AbstractContextManager[object]:
    """Let BLAS compute in one thread within this."""
    limits: AbstractContextManager[object] = import_learn("threadpoolctl").threadpool_limits(1)
    return limits


def side_by_side() -> ThreadPoolExecutor:
    """Return a pool for a few regressions at a time; to be used within `one_thread`."""
    return ThreadPoolExecutor(min(_at_a_time.get(), os.cpu_count() or 1), initializer=_limit)


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Let one regression go on at a time within this, where others need the processor more."""
    before = _at_a_time.set(1)
    try:
        yield
    finally:
        _at_a_time.reset(before)


def _limit() -> None:
    """Limit a thread of the pool too: with OpenMP the limit is each thread's own."""
    import_learn("threadpoolctl").threadpool_limits(1)
