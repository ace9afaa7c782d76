from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.utils.data import DataLoader

import snow_deploy as snow
from tests.deploy.own_loops.networks import MEAN, SIZE, STD, draw_photos, own_network

if TYPE_CHECKING:
    from pathlib import Path

SMALL = snow.DeltaOptions(k_divisor=4, width_divisor=4)


@pytest.fixture(scope="session")
def own_source() -> snow.Source:
    """Give a network of somebody's own as a source; a test must not change it."""
    return snow.Source.of(own_network(), image_size=SIZE, mean=MEAN, std=STD)


@pytest.fixture
def delta(own_source: snow.Source) -> snow.Delta:
    torch.manual_seed(0)
    return snow.Delta(own_source, 3, SMALL)


@pytest.fixture(scope="session")
def splits(tmp_path_factory: pytest.TempPathFactory) -> snow.Splits:
    """Give pictures of three colours."""
    folder = tmp_path_factory.mktemp("photos")
    for seed, split in enumerate(("train", "test")):
        draw_photos(folder / split, 6, seed)
    return snow.open_data(f"imagefolder:{folder}")


@pytest.fixture
def loader(own_source: snow.Source, splits: snow.Splits) -> DataLoader[object]:
    transform = snow.make_transform(own_source.preprocessing, train=False, augmentation="none")
    dataset = snow.PictureDataset(splits.train, transform)
    return DataLoader(dataset, batch_size=6)


@pytest.fixture
def store(tmp_path: Path) -> snow.Store:
    return snow.Store(tmp_path / "store")
