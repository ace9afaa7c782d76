from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
import torch
from torch import nn

from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.pooling import ChannelPooling, PoolingNorm
from snow_export.trace.freeze import StaticPooling, freeze
from snow_export.trace.norms import norm_affine

if TYPE_CHECKING:
    from snow_deploy.models.source import Source


def trained_pooling(
    *, norm: PoolingNorm = "before", relu: bool = True, seed: int = 0
) -> ChannelPooling:
    torch.manual_seed(seed)
    pooling = ChannelPooling(12, 4, sigma2=1.0, norm=norm, relu=relu)
    with torch.no_grad():
        pooling.weight.normal_()
        for _ in range(3):
            pooling(torch.randn(4, 12, 5, 5))
        if pooling.norm is not None:
            pooling.norm.weight.uniform_(-2, 2)
            pooling.norm.bias.uniform_(-2, 2)
    return pooling.eval()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("norm", get_args(PoolingNorm))
def test_a_frozen_pooling_answers_as_the_trained_one_does(norm: PoolingNorm, relu: bool) -> None:
    pooling = trained_pooling(norm=norm, relu=relu)
    features = torch.randn(3, 12, 6, 6)

    frozen = StaticPooling.frozen(pooling)

    torch.testing.assert_close(frozen(features), pooling(features), rtol=1e-5, atol=1e-5)
    assert tuple(frozen.index.tolist()) == pooling.order()
    assert sorted(frozen.index.tolist()) == list(pooling.selection())
    assert not list(frozen.parameters())


def test_ties_are_broken_as_in_evaluation() -> None:
    pooling = ChannelPooling(2048, 256)

    assert StaticPooling.frozen(pooling).index.tolist() == list(range(256))


def test_a_frozen_pooling_stays_as_it_is() -> None:
    pooling = trained_pooling()
    features = torch.randn(3, 12, 6, 6)
    frozen = StaticPooling.frozen(pooling).train()
    before = frozen(features)

    with torch.no_grad():
        pooling.weight.neg_()

    assert torch.equal(frozen(features), before)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("norm", get_args(PoolingNorm))
def test_joined_poolings_answer_one_behind_the_other(norm: PoolingNorm, relu: bool) -> None:
    several = [trained_pooling(norm=norm, relu=relu, seed=seed) for seed in range(3)]
    features = torch.randn(2, 12, 4, 4)

    joined = StaticPooling.joined([StaticPooling.frozen(pooling) for pooling in several])

    expected = torch.cat([pooling(features) for pooling in several], 1)
    torch.testing.assert_close(joined(features), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("affine", [False, True])
def test_a_norms_affine_is_the_norm_in_evaluation(affine: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5, eps=0.01, affine=affine)
    for _ in range(3):
        norm(torch.randn(8, 5, 4, 4) * 3 + 2)
    if affine:
        nn.init.uniform_(norm.weight, -2, 2)
        nn.init.uniform_(norm.bias, -2, 2)
    features = torch.randn(2, 5, 3, 3)

    gain, shift = norm_affine(norm)

    seen = features.double() * gain.view(-1, 1, 1) + shift.view(-1, 1, 1)
    torch.testing.assert_close(seen.float(), norm.eval()(features), rtol=1e-5, atol=1e-5)


def test_a_norm_without_statistics_cannot_be_frozen() -> None:
    with pytest.raises(ValueError, match="without running statistics"):
        norm_affine(nn.BatchNorm2d(3, track_running_stats=False))


def test_a_frozen_delta_answers_as_the_trained_one_does(source: Source) -> None:
    delta = Delta(source, 5, DeltaOptions(sigma2=1.0))
    images = torch.randn(3, 3, 64, 64)
    features = source(images)
    with torch.no_grad():
        delta(images, features)
        expected = delta.eval()(images, features)
        delta.train()

        frozen = freeze(delta)

        torch.testing.assert_close(frozen(images, features), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(layer, ChannelPooling) for layer in frozen.modules())
    assert not any(layer.training for layer in frozen.modules())
    assert all(layer.training for layer in delta.modules())  # the trained one is left alone
    assert len(delta.poolings()) == 16
