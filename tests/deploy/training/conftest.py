"""Pictures of plain colours, some of which cannot be read, and a source that sees the colour."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from snow_deploy.training.store import Store
from snow_runtime.errors import InputError
from snow_runtime.graph.manifest import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Colours:
    """One picture a colour [M, 3] uint8; those listed as broken cannot be read."""

    colours: NDArray[np.uint8]
    targets: tuple[int, ...]
    labels: tuple[str, ...]
    broken: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.targets)

    def target(self, index: int) -> int:
        return self.targets[index]

    def name(self, index: int) -> str:
        return f"colour {index}"

    def load(self, index: int) -> Image.Image:
        if index in self.broken:
            raise InputError(self.name(index))
        red, green, blue = (int(value) for value in self.colours[index])
        return Image.new("RGB", (20, 16), (red, green, blue))


class ColourSource(nn.Module):
    """Stands in for a Source: its pooled features are the mean of each channel, [B, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(3, 3, 1)  # has the parameter that tells the device

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"head": images.mean((2, 3))}

    def stream(self, images: Tensor, _reads: Sequence[str]) -> dict[str, Tensor]:
        return self.forward(images)


@pytest.fixture
def preprocessing() -> Preprocessing:
    return Preprocessing.for_size(8, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.fixture
def colours() -> Colours:
    """Give 23 random colours of three classes."""
    rng = np.random.default_rng(0)
    return Colours(
        rng.integers(0, 256, (23, 3), dtype=np.uint8),
        tuple(int(target) for target in rng.integers(0, 3, 23)),
        ("a", "b", "c"),
    )


@pytest.fixture
def colour_source() -> ColourSource:
    torch.manual_seed(0)
    return ColourSource()


@pytest.fixture
def store(tmp_path: Path, trained_store: Store) -> Store:
    """Give a store with a source and no task yet."""
    fresh = Store(tmp_path / "store")
    fresh.root.mkdir()
    os.link(trained_store.source_path, fresh.source_path)
    return fresh
