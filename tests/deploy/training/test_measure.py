from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from snow_deploy.errors import DataError
from snow_deploy.training.measure import SAMPLES, held_out_samples, measure
from snow_runtime.pictures.preprocessing import prepare, resize_and_crop

if TYPE_CHECKING:
    from snow_runtime.graph.manifest import Preprocessing
    from tests.deploy.training.conftest import Colours


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    layers = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.9), nn.Linear(3, 3))
    return nn.Sequential(*layers).train()


def by_hand(
    network: nn.Module, colours: Colours, preprocessing: Preprocessing
) -> tuple[float, float]:
    """Answer picture by picture, in NumPy: mean cross-entropy and accuracy."""
    linear = list(network.children())[-1]
    assert isinstance(linear, nn.Linear)
    weight, bias = (p.detach().double().numpy() for p in (linear.weight, linear.bias))
    losses, right = [], []
    for index in range(len(colours)):
        if index in colours.broken:
            continue
        image = prepare(colours.load(index), preprocessing).astype(np.float64)
        logits = weight @ image.mean((1, 2)) + bias
        shares = np.exp(logits) / np.exp(logits).sum()
        losses.append(-np.log(shares[colours.target(index)]))
        right.append(logits.argmax() == colours.target(index))
    return float(np.mean(losses)), float(np.mean(right))


@pytest.mark.parametrize("broken", [(), (0, 7, 22)])
def test_loss_and_accuracy(
    network: nn.Module, colours: Colours, preprocessing: Preprocessing, broken: tuple[int, ...]
) -> None:
    colours = replace(colours, broken=frozenset(broken))

    loss, accuracy, unreadable = measure(network, colours, preprocessing, workers=0)

    assert (loss, accuracy) == pytest.approx(by_hand(network, colours, preprocessing), rel=1e-5)
    assert unreadable == {f"colour {index}" for index in broken}
    assert not network.training


def test_more_pictures_than_a_batch(
    network: nn.Module, colours: Colours, preprocessing: Preprocessing
) -> None:
    """Batches of another size count by their pictures."""
    many = replace(colours, colours=np.tile(colours.colours, (4, 1)), targets=colours.targets * 4)
    many = replace(many, broken=frozenset({*range(64), 70}))  # a whole batch and one

    loss, accuracy, unreadable = measure(network, many, preprocessing, workers=0)

    assert (loss, accuracy) == pytest.approx(by_hand(network, many, preprocessing), rel=1e-5)
    assert len(unreadable) == 65


def test_no_picture_can_be_read(
    network: nn.Module, colours: Colours, preprocessing: Preprocessing
) -> None:
    colours = replace(colours, broken=frozenset(range(23)))

    message = "none of the 23 pictures to measure on could be read"
    with pytest.raises(DataError, match=message):
        measure(network, colours, preprocessing, workers=0)
    with pytest.raises(DataError, match=message):
        held_out_samples(colours, preprocessing)


def test_samples_are_spread_over_the_pictures(
    colours: Colours, preprocessing: Preprocessing
) -> None:
    samples = held_out_samples(colours, preprocessing)

    assert SAMPLES == 5
    assert samples.dtype == torch.uint8
    assert samples.shape == (5, 8, 8, 3)
    for sample, index in zip(samples, (0, 4, 9, 13, 18), strict=True):
        assert sample.tolist() == resize_and_crop(colours.load(index), preprocessing).tolist()


def test_samples_leave_out_what_cannot_be_read(
    colours: Colours, preprocessing: Preprocessing
) -> None:
    """The next one of the same stretch takes its place; a stretch without any has no sample."""
    colours = replace(colours, broken=frozenset({0, *range(9, 13)}))

    samples = held_out_samples(colours, preprocessing)

    assert samples[:, 0, 0].tolist() == colours.colours[[1, 4, 13, 18]].tolist()


def test_few_pictures_give_few_samples(colours: Colours, preprocessing: Preprocessing) -> None:
    few = replace(colours, colours=colours.colours[:2], targets=colours.targets[:2])

    assert len(held_out_samples(few, preprocessing)) == 2
