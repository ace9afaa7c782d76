"""What all tests of the torch side share."""

from __future__ import annotations

from functools import partial

import pytest


@pytest.fixture(autouse=True)
def quick_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a readout's ranking by pooling, which has tests of its own, take few steps."""
    from snow_deploy.training import fit_pictures
    from snow_deploy.training.pooling_ranking import PoolingRanking

    monkeypatch.setattr(fit_pictures, "PoolingRanking", partial(PoolingRanking, steps=10))
