"""Pictures and folders for the data tests."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest
from PIL import Image

from snow_runtime.graph.manifest import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path


class WritePictures(Protocol):
    def __call__(self, root: Path, *names: str, size: tuple[int, int] = (24, 18)) -> list[Path]: ...


@pytest.fixture
def write_pictures() -> WritePictures:
    """Write random pictures, each other than the rest, at paths under a root."""

    def write(root: Path, *names: str, size: tuple[int, int] = (24, 18)) -> list[Path]:
        paths = [root / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng(zlib.crc32(path.name.encode()))
            coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR).save(path)
        return paths

    return write


@pytest.fixture
def preprocessing() -> Preprocessing:
    return Preprocessing.for_size(16, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
