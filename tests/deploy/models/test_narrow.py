from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from snow_deploy.models.delta import Delta, DeltaOptions
from snow_deploy.models.narrow import NarrowBatchNorm2d, normalize
from snow_deploy.models.pooling import ChannelPooling, drawn_together
from tests.deploy.models.test_delta import blank_source

LARGE = (4, 64, 64)  # pixels from which a narrow norm is computed in rows


def features_of(channels: int, pixels: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Make features whose mean is far from zero, as those behind a ReLU."""
    batch, height, width = pixels
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, channels, height, width, generator=generator) * 3 + 5
    return features.contiguous(memory_format=torch.channels_last)


def in_rows(result: Tensor) -> bool:
    return result.grad_fn is not None and "NarrowNorm" in result.grad_fn.name()


def reference(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Make torch's own norm with the same numbers, in double precision."""
    twin = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum).double()
    twin.load_state_dict(norm.state_dict())
    return twin.train(norm.training)


def randomized(channels: int, momentum: float = 0.1) -> NarrowBatchNorm2d:
    norm = NarrowBatchNorm2d(channels, momentum=momentum)
    nn.init.uniform_(norm.weight, -1, 1)
    nn.init.uniform_(norm.bias, -1, 1)
    return norm


def assert_near(ours: Tensor | None, theirs: Tensor | None, unit: float = 1.0) -> None:
    assert ours is not None
    assert theirs is not None
    torch.testing.assert_close(ours.double() / unit, theirs / unit, rtol=1e-4, atol=1e-4)


@settings(max_examples=25)
@given(
    channels=st.integers(2, 15),
    pixels=st.sampled_from([LARGE, (1, 128, 128), (3, 75, 77), (5, 61, 64), (16384, 1, 1)]),
    momentum=st.sampled_from([0.1, 0.0125, 1.0]),
    relu=st.booleans(),
)
def test_it_is_torchs_norm(
    channels: int, pixels: tuple[int, int, int], momentum: float, relu: bool
) -> None:
    norm = randomized(channels, momentum)
    twin = reference(norm)
    features = features_of(channels, pixels).requires_grad_()
    double = features.detach().double().requires_grad_()
    upstream = features_of(channels, pixels, seed=1) - 5

    ours = normalize(norm, features, norm.weight, norm.bias, relu=relu)
    theirs = twin(double).relu() if relu else twin(double)
    assert in_rows(ours)
    torch.autograd.backward(ours, upstream)
    # Where rounding alone decides on which side of the ReLU a value is, either is right.
    theirs.backward(upstream.double() * ((ours > 0) == (theirs > 0)))

    count = features.numel() / channels
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert_near(ours, theirs)
    assert_near(features.grad, double.grad)
    assert_near(norm.weight.grad, twin.weight.grad, unit=count**0.5)
    assert_near(norm.bias.grad, twin.bias.grad, unit=count**0.5)
    assert_near(norm.running_mean, twin.running_mean)
    assert_near(norm.running_var, twin.running_var)
    assert norm.num_batches_tracked == twin.num_batches_tracked == 1


@pytest.mark.parametrize(
    "case", ["evaluation", "wide", "one channel", "few pixels", "plain", "double", "bf16"]
)
def test_elsewhere_torch_computes_it(case: str) -> None:
    channels = {"wide": 16, "one channel": 1}.get(case, 8)
    norm = randomized(channels).train(case != "evaluation")
    features = features_of(channels, (2, 8, 8) if case == "few pixels" else LARGE)
    if case == "plain":
        features = features.contiguous()
    if case == "double":
        norm, features = norm.double(), features.double()
    if case == "bf16":
        features = features.bfloat16()
    twin = nn.BatchNorm2d(channels).to(norm.weight.dtype).train(norm.training)
    twin.load_state_dict(norm.state_dict())

    ours = norm(features)

    assert not in_rows(ours)
    assert torch.equal(ours, twin(features))
    assert torch.equal(normalize(twin, features, norm.weight, norm.bias), ours)


def test_a_single_value_a_channel_is_refused_as_torch_does() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        NarrowBatchNorm2d(3)(torch.ones(1, 3, 1, 1))


def test_a_strided_gradient_is_the_same() -> None:
    """The gradient of what was concatenated is a slice of the whole."""
    norm, features = randomized(8), features_of(8, LARGE).requires_grad_()
    whole = features_of(24, LARGE, seed=1)
    gradients: list[Tensor | None] = []
    for upstream in (whole[:, 8:16], whole[:, 8:16].clone(memory_format=torch.contiguous_format)):
        features.grad = None
        torch.autograd.backward(norm(features), upstream)
        gradients.append(features.grad)

    first, second = gradients
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


def test_what_needs_no_gradient_gets_none() -> None:
    norm, features = randomized(8), features_of(8, LARGE)

    norm(features).sum().backward()

    assert features.grad is None
    assert norm.weight.grad is not None
    torch.testing.assert_close(norm.bias.grad, torch.full((8,), 4.0 * 64 * 64))


def test_a_poolings_norm_is_computed_in_rows_too() -> None:
    pooling = ChannelPooling(32, 8, norm="before", relu=True)
    features = features_of(32, LARGE)

    with drawn_together([pooling]):
        pooled = pooling(features)
        narrow = pooling(features[:2].contiguous(memory_format=torch.channels_last))

    assert in_rows(pooled)
    assert not in_rows(narrow)
    assert bool((pooled >= 0).all())


def test_a_deltas_narrow_layers_have_it() -> None:
    delta = Delta(blank_source("mobilenet_v2"), 3, DeltaOptions())
    norms = [layer for layer in delta.modules() if isinstance(layer, nn.BatchNorm2d)]

    assert min(norm.num_features for norm in norms) < 8
    assert all(isinstance(norm, NarrowBatchNorm2d) for norm in norms)
