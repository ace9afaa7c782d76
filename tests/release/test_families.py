"""A family that is taken in no other test the whole way, as the matrix takes all of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from benchmarks.families import walk
from tests.release.conftest import RTX

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.tensorrt
def test_the_whole_way(tmp_path: Path) -> None:
    row = walk("shufflenet_v2_x0_5", tmp_path)

    assert row.notes == []
    assert (row.verify, row.lint, row.int8_share) == ("agrees", "0", "100.00%")
    for cell in (row.fp16, row.int8) if RTX else ():
        reached, layers, kernels = map(int, re.findall(r"\d+", cell))
        assert 0.95 * layers <= reached <= layers
        assert kernels > 0
