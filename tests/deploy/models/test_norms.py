from __future__ import annotations

import copy
import itertools
from functools import cache

import pytest
import torch
from torch import nn
from torchvision.models import ResNet, resnet18

from snow_deploy.models.norms import norms_are_folded, restore_norms


@cache
def trained() -> ResNet:
    """Make a ResNet-18 with statistics that fit what arrives."""
    torch.manual_seed(0)
    made: ResNet = resnet18(num_classes=7)
    with torch.no_grad():
        for layer in made.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.uniform_(-0.3, 0.3)
                layer.momentum = None  # the mean over all batches
        for _ in range(5):
            made(images(8))
    return made.eval()


@torch.no_grad()
def network(*, folded: bool) -> ResNet:
    """Give that network as it is, or with its norms folded away."""
    made = copy.deepcopy(trained())
    for convolution, norm in pairs(made) if folded else []:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        convolution.weight.mul_(scale.view(-1, 1, 1, 1))
        norm.bias.sub_(norm.running_mean * scale)
        norm.weight.fill_(1)
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
    return made


def pairs(network: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Pair torchvision's convolutions with the norms behind them: they alternate."""
    layers = [x for x in network.modules() if isinstance(x, nn.Conv2d | nn.BatchNorm2d)]
    found = [
        (one, other)
        for one, other in itertools.pairwise(layers)
        if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d)
    ]
    assert len(found) == sum(isinstance(x, nn.BatchNorm2d) for x in layers)
    return found


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 40, 40)


def test_which_networks_are_folded() -> None:
    assert norms_are_folded(network(folded=True))
    assert not norms_are_folded(network(folded=False))
    assert not norms_are_folded(nn.Conv2d(3, 4, 1))


@torch.no_grad()
def test_what_eval_mode_computes_stays() -> None:
    made = network(folded=True)
    batch = images(8)
    before = made(batch)

    restore_norms(made, [images(8) for _ in range(3)])

    assert not made.training
    torch.testing.assert_close(made(batch), before, rtol=1e-4, atol=1e-4)
    assert not norms_are_folded(made)


@torch.no_grad()
def test_training_mode_computes_nearly_the_same_from_now_on() -> None:
    made = network(folded=True)
    batch = images(32)
    expected = made(batch)
    wrong = (made.train()(batch) - expected).abs().mean() / expected.std()

    made = network(folded=True)
    restore_norms(made, [batch])
    right = (made.train()(batch) - expected).abs().mean() / expected.std()

    assert right < 0.02  # the batch's own statistics are the norms'
    assert wrong > 10 * right


@torch.no_grad()
def test_statistics_are_those_of_what_arrives() -> None:
    made = network(folded=True)
    batches = [images(5), images(9)]
    restore_norms(made, batches)

    arrived = made.conv1(torch.cat(batches))
    assert isinstance(made.bn1, nn.BatchNorm2d)
    torch.testing.assert_close(made.bn1.running_mean, arrived.mean((0, 2, 3)))
    variance = arrived.var((0, 2, 3), unbiased=False)
    torch.testing.assert_close(made.bn1.running_var, variance, rtol=1e-4, atol=1e-5)


def test_without_a_batch() -> None:
    with pytest.raises(ValueError, match="no batch"):
        restore_norms(network(folded=True), [])
