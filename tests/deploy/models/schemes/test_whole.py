from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.models.schemes.whole import FineTuning
from snow_deploy.models.source import Source
from tests.deploy.models.schemes.conftest import losses_gradient

if TYPE_CHECKING:
    from tests.conftest import RandomNetwork, RandomWeights


@pytest.mark.parametrize("training", [False, True])
def test_it_begins_as_the_source_in_both_modes(
    source: Source, original: nn.Module, images: Tensor, *, training: bool
) -> None:
    network = FineTuning(source, 7)
    classifier = original.get_submodule("fc")
    assert isinstance(classifier, nn.Linear)
    network.start_classifier(classifier)

    seen = network.train(training)(images, {})

    torch.testing.assert_close(seen, original.train(training)(images), rtol=1e-4, atol=1e-4)
    for name, value in original.named_buffers():  # the statistics moved alike
        torch.testing.assert_close(network.network.get_buffer(name), value)


def test_all_of_it_is_trained_and_the_source_is_not(source: Source, images: Tensor) -> None:
    before = {key: value.clone() for key, value in source.state_dict().items()}
    network = FineTuning(source, 5)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    started = {name: value.detach().clone() for name, value in network.named_parameters()}

    losses_gradient(network, images, {})
    optimizer.step()

    for name, value in network.named_parameters():
        assert not torch.equal(value, started[name]), name
    assert all(torch.equal(value, before[key]) for key, value in source.state_dict().items())
    again = FineTuning(source, 5)  # begins with the source's weights, not with the trained ones
    assert torch.equal(again.network.get_parameter("conv1.weight"), started["network.conv1.weight"])


def test_a_source_whose_norms_are_folded_into_biases_trains_too(
    random_network: RandomNetwork, random_weights: RandomWeights, images: Tensor
) -> None:
    """Statistics of an identity, scales of one: the shift is all that a norm does."""
    weights = random_weights("resnet50")
    plain = {"running_mean": 0.0, "running_var": 1.0}
    network = random_network("resnet50")
    norms = {n for n, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    state = dict(weights.state)
    for name in norms:
        for leaf, value in {**plain, "weight": 1.0}.items():
            state[f"{name}.{leaf}"] = torch.full_like(state[f"{name}.{leaf}"], value)
    source = Source(replace(weights, state=state, stride_in_1x1=True))
    tuned = FineTuning(source, 5).eval()

    with torch.no_grad():
        pooled = tuned.network(images)
    torch.testing.assert_close(pooled, source(images)["head"], rtol=1e-3, atol=1e-3)
    losses_gradient(tuned, images, {})
    assert all(torch.isfinite(p.grad).all() for p in tuned.parameters() if p.grad is not None)
    assert tuned.network.get_buffer("bn1.running_mean").any()
