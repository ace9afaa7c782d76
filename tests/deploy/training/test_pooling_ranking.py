"""A ranking by channel pooling finds the features that tell, from the rows that it may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_deploy.training.pooling_ranking import PoolingRanking

if TYPE_CHECKING:
    from numpy.typing import NDArray

TELLING = 4  # features, the first ones
COUNT = 6


def drawn(rows: int = 300) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    x = rng.standard_normal((rows, 24)).astype(np.float32)
    x[:, :TELLING] += 1.5 * (2 * y[:, None] - 1)
    return x, y


@pytest.mark.parametrize("several", [False, True])
def test_what_tells_comes_first(several: bool) -> None:
    x, y = drawn()
    targets = np.eye(2, dtype=np.float32)[y]
    found = PoolingRanking()(x, targets, rows=np.arange(300), count=COUNT, several=several)
    assert sorted(found.tolist()) == list(range(24))
    # Chance would find one of them among the first six.
    assert len(set(found[:COUNT].tolist()) & set(range(TELLING))) >= TELLING - 1


def test_other_rows_are_not_looked_at() -> None:
    x, y = drawn()
    targets = np.eye(2, dtype=np.float32)[y]
    some = np.flatnonzero(np.arange(300) % 3 > 0)
    x[::3], targets[::3] = np.nan, np.nan
    rank = PoolingRanking(seed=3, steps=60)
    found = rank(x, targets, rows=some, count=COUNT, several=False)
    alone = rank(x[some], targets[some], rows=np.arange(len(some)), count=COUNT, several=False)
    np.testing.assert_array_equal(found, alone)
