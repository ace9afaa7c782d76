from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.anatomy import HEAD, Subscription, dissect, trace
from snow_export.network import LOGITS

IMAGE = torch.zeros(1, 3, 32, 32)


class Small(nn.Module):
    """A stem, a block with a downsample branch, a depthwise convolution, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.stem = nn.Conv2d(3, 8, 3)
        self.main = nn.Conv2d(8, 12, 3, padding=1)
        self.downsample = nn.Conv2d(8, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, groups=12)
        self.grouped = nn.Conv2d(12, 12, 3, groups=4)
        self.last = nn.Conv2d(12, 20, 1)
        self.fc = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.pool(x)).relu()
        x = self.main(x) + self.downsample(x)
        x = self.last(self.grouped(self.depthwise(x)))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def test_dense_convolutions_behind_the_stem_subscribe() -> None:
    anatomy = dissect(trace(Small()), IMAGE)

    found = [(item.name, item.channels, item.readers) for item in anatomy.subscriptions]
    assert found == [
        ("main", 8, ("main", "downsample")),  # the block's input is subscribed to once
        ("last", 12, ("last",)),
    ]
    assert anatomy.classifier == "fc"
    assert anatomy.head_channels == 20


def test_a_convolution_may_be_the_classifier() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.Conv2d(6, 8, 3),
        nn.Conv2d(8, 5, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )

    anatomy = dissect(trace(network), IMAGE)

    assert anatomy.classifier == "2"
    assert [item.name for item in anatomy.subscriptions] == ["1"]
    assert anatomy.head_shape == (1, 8, 28, 28)
    assert anatomy.head_channels == 8


def test_a_subscription_names_the_node_that_makes_its_tensor() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Conv2d(4, 2, 3))

    anatomy = dissect(trace(network), IMAGE)

    assert anatomy.subscriptions == (Subscription("2", "_1", (1, 6, 30, 30), ("2",)),)


def test_shapes_can_be_read_without_computing() -> None:
    network = trace(Small())

    on_meta = dissect(network.to("meta"), IMAGE.to("meta"))

    assert on_meta == dissect(trace(Small()), IMAGE)


def test_the_keys_beside_the_subscriptions_are_no_layer_names() -> None:
    assert {HEAD, LOGITS}.isdisjoint(name for name, _ in Small().named_modules())


def test_a_vision_transformer_is_refused() -> None:
    network = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=4)

    with pytest.raises(
        SourceError, match=r"this network has no dense convolution behind its stem.*use a CNN"
    ):
        dissect(trace(network), IMAGE)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Branching(), r"torch\.fx cannot trace Branching: .*no data-dependent control flow"),
        (TwoInputs(), "TwoInputs takes 2 inputs and returns Node; a source takes one image batch"),
        (TwoOutputs(), "TwoOutputs takes 1 inputs and returns tuple; a source takes one image"),
    ],
    ids=["branching", "two inputs", "two outputs"],
)
def test_networks_that_cannot_be_traced(network: nn.Module, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        trace(network)


def test_a_network_without_a_classifier() -> None:
    with pytest.raises(SourceError, match="this network does not end in a Linear or Conv2d"):
        dissect(trace(nn.Sequential(nn.ReLU(), nn.Flatten())), IMAGE)


def test_tracing_puts_the_network_into_eval_mode() -> None:
    network = Small().train()
    trace(network)

    assert not any(layer.training for layer in network.modules())
