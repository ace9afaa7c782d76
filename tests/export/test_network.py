from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, fx, nn

from snow_export.errors import ExportError
from snow_export.network import SharedNetwork, TaskHead, flatten_network

if TYPE_CHECKING:
    from collections.abc import Mapping


class TinySource(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        seen = self.network(images)
        return {"seen": seen, "logits": seen.mean((2, 3)), "unread": seen * 2}


class TinyDelta(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(4, classes)

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = self.fc(features["seen"].mean((2, 3))) + images.mean()
        return logits


@pytest.fixture
def network() -> SharedNetwork:
    torch.manual_seed(0)
    heads = [TaskHead("food", TinyDelta(2)), TaskHead("cars", TinyDelta(5))]
    return SharedNetwork(TinySource(), heads, ("cars", "source", "food")).eval()


def test_answers_come_in_the_order_of_the_outputs(network: SharedNetwork) -> None:
    images = torch.randn(2, 3, 8, 8)
    features = network.source(images)

    cars, source, food = network(images)

    assert [answer.shape[1] for answer in (cars, source, food)] == [5, 4, 2]
    assert torch.equal(source, features["logits"])
    assert torch.equal(food, network.heads[0](images, features)[0])
    assert torch.equal(cars, network.heads[1](images, features)[0])


def test_the_flat_graph_answers_the_same(network: SharedNetwork) -> None:
    images = torch.randn(3, 3, 8, 8)

    flat = flatten_network(network)

    for seen, expected in zip(flat(images), network(images), strict=True):
        assert torch.equal(seen, expected)
    targets = [str(node.target) for node in flat.graph.nodes if node.op == "call_module"]
    assert targets.count("source.network.0") == 1  # the source runs once
    assert not any("mul" in str(node.target) for node in flat.graph.nodes)  # nothing reads it


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("source.network.layer1.0.conv1", "source/layer1.0.conv1"),
        ("heads.0.delta.network.fc", "food/fc"),
        ("heads.1.delta.network.pooling.layer1.0.conv1", "cars/pooling.layer1.0.conv1"),
    ],
)
def test_layers_are_named_by_their_owner(network: SharedNetwork, target: str, name: str) -> None:
    assert network.readable(target) == name


def test_a_network_that_cannot_be_traced(network: SharedNetwork) -> None:
    class Branching(TinySource):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return super().forward(images if images.sum() > 0 else -images)

    network.source = Branching()

    with pytest.raises(ExportError, match=r"torch\.fx cannot trace the network for export"):
        flatten_network(network)


def test_the_flat_graph_is_one_of_layers(network: SharedNetwork) -> None:
    flat = flatten_network(network)

    assert isinstance(flat, fx.GraphModule)
    for node in flat.graph.nodes:
        if node.op == "call_module":
            layer = flat.get_submodule(str(node.target))
            assert type(layer).__module__.startswith("torch.nn")
