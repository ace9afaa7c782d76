from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.schemes.progressive import ProgressiveColumn
from snow_deploy.models.source import Source
from tests.deploy.models.schemes.conftest import losses_gradient

if TYPE_CHECKING:
    from snow_deploy.models.weights import SourceWeights
    from tests.conftest import RandomNetwork


@pytest.fixture
def tapped(weights: SourceWeights) -> Source:
    """Give a source of its own: a column lets it return more than before."""
    return Source(weights)


def norm_of(convolution: str) -> str:
    """Name the norm behind a convolution of a ResNet-18."""
    return convolution.replace("conv", "bn")


def test_each_convolution_adds_an_adapted_one_of_the_source(
    tapped: Source, original: nn.Module, random_network: RandomNetwork, images: Tensor
) -> None:
    """Two of torchvision's networks, joined by hooks."""
    network = ProgressiveColumn(tapped, 5).eval()
    state = network.network.state_dict()
    column = random_network("resnet18", classes=5, seed=1)
    own = {key: value for key, value in state.items() if not key.startswith("adapters.")}
    classifier = network.head.state_dict()
    column.load_state_dict({**own, **classifier})
    outputs: dict[str, Tensor] = {}
    joined = []
    for name, layer in column.named_modules():
        if not isinstance(layer, nn.Conv2d) or "downsample" in name:
            continue

        def note(_layer: Any, _inputs: Any, output: Tensor, name: str = name) -> None:
            outputs[name] = output.clone()

        def add(_layer: Any, _inputs: Any, output: Tensor, name: str = name) -> Tensor:
            weight = state[f"adapters.{name.replace('.', '_')}.weight"]
            return output + nn.functional.conv2d(outputs[name], weight)

        original.get_submodule(norm_of(name)).register_forward_hook(note)
        layer.register_forward_hook(add)
        joined.append(name)

    with torch.no_grad():
        original(images)
        torch.testing.assert_close(
            network(images, tapped(images)), column(images), rtol=1e-3, atol=1e-3
        )
    assert len(joined) == 17
    assert sum(key.startswith("adapters.") for key in state) == 17


def test_the_source_still_answers_as_before(tapped: Source, source: Source, images: Tensor) -> None:
    ProgressiveColumn(tapped, 5)
    ProgressiveColumn(tapped, 6)

    more, before = tapped(images), source(images)

    assert set(before) < set(more)
    for key, value in before.items():
        assert torch.equal(more[key], value)


def test_it_is_random_and_trained_while_the_source_is_neither(
    tapped: Source, original: nn.Module, images: Tensor
) -> None:
    network = ProgressiveColumn(tapped, 5)

    losses_gradient(network, images, tapped(images))

    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in tapped.parameters())
    weight = network.network.get_parameter("layer1.0.conv1.weight")
    assert not torch.allclose(weight, original.get_parameter("layer1.0.conv1.weight"))
    with pytest.raises(SourceError, match="a column begins at random"):
        network.start_classifier(nn.Linear(512, 5))
