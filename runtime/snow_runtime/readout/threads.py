"""How many threads linear algebra takes while a readout is fitted.

L-BFGS is thousands of small products. On a machine that is busy, with frames to answer say, a BLAS
that waits for its other threads at each of them is many times slower than one thread alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snow_runtime.readout.import_learn import import_learn

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_FEW_ROWS: Final = 1000


def one_thread() -> AbstractContextManager[object]:
    """Let BLAS compute in one thread within this."""
    limits: AbstractContextManager[object] = import_learn("threadpoolctl").threadpool_limits(1)
    return limits


def few_threads(rows: int) -> AbstractContextManager[object]:
    """Let BLAS compute in one thread where there are few rows, else in as many as it likes."""
    limit = 1 if rows < _FEW_ROWS else None
    limits: AbstractContextManager[object] = import_learn("threadpoolctl").threadpool_limits(limit)
    return limits
