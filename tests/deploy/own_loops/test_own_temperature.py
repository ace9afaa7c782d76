"""The temperature that a task of one's own loop gets where it has pictures for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

import snow_deploy as snow
from tests.deploy.own_loops.networks import CLASSES, draw_photos

if TYPE_CHECKING:
    from pathlib import Path


def trained(delta: snow.Delta) -> snow.Delta:
    """Give a delta answers that depend on the picture, and are far too sure."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in delta.state_dict().items():
            if value.is_floating_point() and "running" not in name:
                value.add_(0.03 * torch.rand_like(value))
    return delta


def logits_of(delta: snow.Delta, source: snow.Source, pictures: snow.Pictures) -> torch.Tensor:
    plain = snow.make_transform(source.preprocessing, train=False, augmentation="none")
    images = torch.stack([plain(pictures.load(place)) for place in range(len(pictures))])
    with torch.no_grad():
        found: torch.Tensor = delta.eval()(images, source(images))
    return found.double()


def test_validation_pictures_bring_a_temperature(
    own_source: snow.Source, delta: snow.Delta, splits: snow.Splits, tmp_path: Path
) -> None:
    trained(delta)
    folder = draw_photos(tmp_path / "val", 8, seed=5)
    paths = tuple(sorted(folder.glob("*/*.png")))
    unlabelled = snow.FilePictures(paths, (0,) * len(paths), CLASSES)
    logits = logits_of(delta, own_source, unlabelled)
    targets = logits.argmax(1)
    targets[::4] = (targets[::4] + 1) % 3  # a quarter of the answers is wrong
    val = snow.FilePictures(paths, tuple(targets.tolist()), CLASSES)

    store = snow.Store(tmp_path / "store")
    record = store.add("colour", delta, splits=replace(splits, val=val))

    found = record.confidence
    assert found is not None
    assert (found.pictures, found.held_out_from) == (24, "validation")
    doubt = 1 / (24 + 2)  # Platt's: right is not wholly sure

    def loss(temperature: float) -> float:
        shares = torch.log_softmax(logits / temperature, dim=1)
        right = shares[torch.arange(24), targets]
        return float(-((1 - doubt) * right + doubt * shares.mean(1)).mean())

    grid = np.geomspace(0.05, 20, 4000)
    assert abs(np.log(found.temperature / grid[np.argmin([loss(t) for t in grid])])) < 0.01
    assert 0.06 < found.temperature < 19

    path = tmp_path / "snow.onnx"
    snow.export(store, ["colour"], path)
    import snow_runtime

    with snow_runtime.load(path) as model:
        assert model.manifest.task("colour").temperature == found.temperature


def test_without_validation_pictures_there_is_none(
    delta: snow.Delta, splits: snow.Splits, store: snow.Store
) -> None:
    assert store.add("a", delta, splits=splits).confidence is None
    assert store.add("b", delta, labels=CLASSES).confidence is None
    assert isinstance(splits.test, snow.FilePictures)
    few = snow.FilePictures(splits.test.paths[:9], splits.test.targets[:9], CLASSES)
    assert store.add("c", delta, splits=replace(splits, val=few)).confidence is None
