"""Features of the source's taps that a benchmark's networks read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

CHOSEN = 1024
"""Features that each readout reads, or all where there are fewer."""


def draw_features(widths: Mapping[str, int]) -> torch.Tensor:
    """Draw which of all taps' features to read, by the taps' widths: int64, ascending."""
    return torch.randperm(sum(widths.values()))[:CHOSEN].sort().values
