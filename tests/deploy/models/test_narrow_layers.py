from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from snow_deploy.models.delta import Delta
from snow_deploy.models.narrow_layers import NarrowBatchNorm2d, NarrowPointwise, normalize
from snow_deploy.models.options import DeltaOptions
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
    seed=st.integers(0, 2**32),
)
def test_it_is_torchs_norm(
    channels: int, pixels: tuple[int, int, int], momentum: float, relu: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    norm = randomized(channels, momentum)
    twin = reference(norm)
    features = features_of(channels, pixels).requires_grad_()
    double = features.detach().double().requires_grad_()
    upstream = features_of(channels, pixels, seed=1) - 5

    ours = normalize(norm, features, norm.weight, norm.bias, relu=relu)
    theirs = twin(double).relu() if relu else twin(double)
    assert in_rows(ours)
    # Where rounding alone decides on which side of the ReLU a value is, either is right.
    upstream = upstream * ((ours > 0) == (theirs > 0))
    torch.autograd.backward(ours, upstream)
    theirs.backward(upstream.double())

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


def test_what_follows_may_change_the_answer() -> None:
    norm, features = randomized(8), features_of(8, LARGE).requires_grad_()
    twin = nn.BatchNorm2d(8)
    twin.load_state_dict(norm.state_dict())
    gradients: list[Tensor | None] = []
    for layer in (norm, twin):
        features.grad = None
        nn.Sequential(layer, nn.ReLU(inplace=True))(features).square().mean().backward()
        gradients.append(features.grad)

    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-8)


def test_another_number_of_channels_is_refused_as_torch_does() -> None:
    norm = randomized(8)

    with pytest.raises(RuntimeError, match="should contain 1 elements not 8"):
        norm(features_of(1, (4, 256, 256)))

    assert not bool(norm.running_mean.any())  # type: ignore[union-attr]


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


def test_a_source_with_functions_in_place() -> None:
    """torchvision's GoogLeNet writes a ReLU over what a norm answered."""
    source = blank_source("googlenet")
    delta = Delta(source, 3, DeltaOptions())
    images = torch.randn(4, 3, 128, 128).contiguous(memory_format=torch.channels_last)

    delta(images, source(images)).sum().backward()

    assert all(weight.grad is not None for weight in delta.parameters())


def test_a_deltas_narrow_layers_have_it() -> None:
    delta = Delta(blank_source("mobilenet_v2"), 3, DeltaOptions())
    norms = [layer for layer in delta.modules() if isinstance(layer, nn.BatchNorm2d)]

    assert min(norm.num_features for norm in norms) < 8
    assert all(isinstance(norm, NarrowBatchNorm2d) for norm in norms)


@pytest.mark.parametrize(
    ("channels", "stride", "bias"), [(1, 2, False), (4, 2, True), (15, 3, True), (8, (2, 1), False)]
)
def test_a_narrow_strided_convolution_is_torchs(
    channels: int, stride: int | tuple[int, int], bias: bool
) -> None:
    ours = NarrowPointwise(channels, 6, 1, stride, bias=bias)
    theirs = nn.Conv2d(channels, 6, 1, stride, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    features = features_of(channels, (4, 64, 61)).requires_grad_()
    double = features.detach().double().contiguous().requires_grad_()

    ours(features).square().mean().backward()
    theirs(double).square().mean().backward()

    assert_near(ours(features), theirs(double))
    assert_near(features.grad, double.grad)
    for name, weight in theirs.named_parameters():
        assert_near(ours.get_parameter(name).grad, weight.grad)


@pytest.mark.parametrize(
    ("architecture", "options", "narrow"),
    [
        ("regnet_y_400mf", DeltaOptions(), 2),
        (
            "resnet18",
            DeltaOptions(k_divisor=16, width_divisor=16),
            1,
        ),  # 4 channels of its own and 4 chosen ones
        ("resnet18", DeltaOptions(), 0),
        ("resnet50", DeltaOptions(k_divisor=16, width_divisor=16), 0),
    ],
)
def test_a_delta_has_them_where_it_must(
    architecture: str, options: DeltaOptions, narrow: int
) -> None:
    source = blank_source(architecture)
    delta = Delta(source, 3, options)
    images = torch.randn(2, 3, 128, 128).contiguous(memory_format=torch.channels_last)
    found = [layer for layer in delta.modules() if isinstance(layer, NarrowPointwise)]

    assert len(found) == narrow
    delta(images, source(images)).sum().backward()
    assert all(layer.weight.grad is not None for layer in found)
