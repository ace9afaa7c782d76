from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions, Subscribing
from snow_deploy.models.subscriptions import ChannelAttention, make_subscription
from tests.deploy.models.test_delta import PAPER_TASKS, blank_source, resnet50_blocks

if TYPE_CHECKING:
    from snow_deploy.models.source import Source

ALTERNATIVES: tuple[Subscribing, ...] = ("conv1x1", "attention", "all")


@pytest.fixture(scope="module")
def resnet50() -> Source:
    return blank_source("resnet50")


def read(channels: int, options: DeltaOptions) -> int:
    """Count the channels that a delta takes over of a source tensor."""
    return (
        channels // options.k_divisor
        if options.subscription in {"pooling", "conv1x1"}
        else channels
    )


def own(channels: int, options: DeltaOptions) -> int:
    """Count a subscription's own parameters."""
    kept = channels // options.k_divisor
    return {
        "pooling": channels + 2 * kept,
        "conv1x1": channels * kept + 2 * kept,
        "attention": 2 * channels * (channels // 16),
        "all": 0,
    }[options.subscription]


def by_hand(classes: int, options: DeltaOptions) -> int:
    """Count a ResNet-50's delta."""
    width = options.width_divisor
    total = 3 * (64 // width) * 49 + 2 * (64 // width)
    for inputs, inner, _ in resnet50_blocks():
        outer = 4 * inner
        shapes = [(inputs, inner, 1), (inner, inner, 9), (inner, outer, 1)]
        total += sum(own(channels, options) for channels, _, _ in shapes)
        if inputs != outer:
            shapes.append((inputs, outer, 1))
        for reads, makes, area in shapes:
            arrive = reads // width + read(reads, options)
            total += (arrive * area + 2) * (makes // width)
    return total + (2048 // width + 2048 + 1) * classes


@pytest.mark.parametrize(
    ("options", "millions"),
    [
        (DeltaOptions(), 5.2),
        (DeltaOptions(subscription="conv1x1"), 16.6),
        (DeltaOptions(subscription="attention"), 29.4),
        (DeltaOptions(subscription="all"), 17.9),
        (DeltaOptions(k_divisor=4), None),
        (DeltaOptions(k_divisor=16), None),
        (DeltaOptions(width_divisor=4), None),
        (DeltaOptions(width_divisor=16, k_divisor=16), None),
    ],
)
def test_the_papers_five_deltas_in_millions_of_parameters(
    resnet50: Source, options: DeltaOptions, millions: float | None
) -> None:
    """Table 6, the deltas together; and `paper shapes`' widths and K."""
    with torch.device("meta"):
        delta = Delta(resnet50, 101, options)

    assert delta.count_parameters() == by_hand(101, options)
    if millions is not None:
        total = sum(by_hand(classes, options) for classes in PAPER_TASKS)
        assert round(total / 1e6, 1) == millions


@pytest.mark.parametrize("subscription", ALTERNATIVES)
def test_a_delta_with_an_alternative_is_trained_whole(
    source: Source, subscription: Subscribing
) -> None:
    delta = Delta(source, 3, DeltaOptions(subscription=subscription))
    images = torch.randn(3, 3, 64, 64)

    loss = nn.functional.cross_entropy(delta(images, source(images)), torch.arange(3))
    loss.backward()  # type: ignore[no-untyped-call]

    assert all(parameter.grad is not None for parameter in delta.parameters())
    assert all(parameter.grad is None for parameter in source.parameters())
    assert delta.poolings() == {}
    assert delta.selections() == {}


def test_attention_is_squeeze_and_excitation() -> None:
    attention = ChannelAttention(32)
    features = torch.randn(2, 32, 5, 4)
    down, up = attention.squeeze.weight[:, :, 0, 0], attention.excite.weight[:, :, 0, 0]
    assert (down.shape, up.shape) == ((2, 32), (32, 2))

    gates = torch.sigmoid(torch.relu(features.mean((2, 3)) @ down.T) @ up.T)

    torch.testing.assert_close(attention(features), features * gates[:, :, None, None])


def test_a_projection_is_a_normed_linear_map_of_each_pixel() -> None:
    projection = make_subscription(16, DeltaOptions(subscription="conv1x1", k_divisor=4)).eval()
    features = torch.randn(2, 16, 3, 3)
    (convolution, *_) = projection.children()
    assert isinstance(convolution, nn.Conv2d)

    expected: Tensor = torch.einsum("bnhw,kn->bkhw", features, convolution.weight[:, :, 0, 0])

    assert projection(features).shape == (2, 4, 3, 3)
    torch.testing.assert_close(projection(features), torch.relu(expected) / (1 + 1e-5) ** 0.5)


def test_all_channels_pass_as_they_are() -> None:
    features = torch.randn(2, 16, 3, 3)

    assert make_subscription(16, DeltaOptions(subscription="all"))(features) is features
