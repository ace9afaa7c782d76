from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.models.schemes.whole import FineTuning
from tests.deploy.models.schemes.conftest import losses_gradient

if TYPE_CHECKING:
    from snow_deploy.models.source import Source


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
