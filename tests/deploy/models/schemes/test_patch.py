from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.schemes.patch import ModelPatch
from tests.deploy.models.schemes.conftest import losses_gradient
from tests.deploy.models.test_delta import blank_source

if TYPE_CHECKING:
    from snow_deploy.models.source import Source


def norms_of(network: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {n: layer for n, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)}


def test_it_is_the_source_with_other_scales(
    source: Source, original: nn.Module, images: Tensor
) -> None:
    network = ModelPatch(source, 7)
    classifier = original.get_submodule("fc")
    assert isinstance(classifier, nn.Linear)
    network.start_classifier(classifier)
    with torch.no_grad():
        torch.testing.assert_close(network(images, {}), original(images), rtol=1e-4, atol=1e-4)
        for name, norm in norms_of(original).items():
            norm.weight.uniform_(0.5, 1.5)
            network.network.get_parameter(f"{name}.weight").copy_(norm.weight)

        torch.testing.assert_close(network(images, {}), original(images), rtol=1e-4, atol=1e-4)


def test_scales_and_classifier_are_all_that_is_trained_and_kept(
    source: Source, original: nn.Module, images: Tensor
) -> None:
    network = ModelPatch(source, 5)
    wanted = {f"network.{name}.weight" for name in norms_of(original)}
    wanted |= {"head.fc.weight", "head.fc.bias"}
    frozen = {key: value.clone() for key, value in network.named_buffers()}

    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        losses_gradient(network, images, {})
        optimizer.step()

    assert {name for name, _ in network.named_parameters()} == wanted
    assert set(network.state_dict()) == wanted
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert frozen  # weights, shifts and statistics
    assert all(torch.equal(value, frozen[key]) for key, value in network.named_buffers())
    assert network.training
    assert not any(norm.training for norm in norms_of(network.network).values())


def test_its_state_comes_back(source: Source, images: Tensor) -> None:
    trained, reloaded = ModelPatch(source, 5).eval(), ModelPatch(source, 5).eval()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.1)

    reloaded.load_state_dict({key: value.clone() for key, value in trained.state_dict().items()})

    with torch.no_grad():
        assert torch.equal(trained(images, {}), reloaded(images, {}))


def test_a_source_without_norms_is_refused() -> None:
    with pytest.raises(SourceError, match="a squeezenet1_1 has no norms"):
        ModelPatch(blank_source("squeezenet1_1"), 5)
