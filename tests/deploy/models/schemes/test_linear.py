from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.schemes.linear import LinearClassifier
from snow_deploy.models.source import Source
from tests.deploy.models.test_delta import blank_source

if TYPE_CHECKING:
    from tests.conftest import RandomWeights


def test_it_reads_the_pooled_features_alone(
    source: Source, original: nn.Module, images: Tensor
) -> None:
    network = LinearClassifier(source, 7)
    classifier = original.get_submodule("fc")
    assert isinstance(classifier, nn.Linear)

    network.start_classifier(classifier)

    with torch.no_grad():
        logits = network(images, source(images))
        torch.testing.assert_close(logits, original(images), rtol=1e-4, atol=1e-4)
    assert network.count_parameters() == 512 * 7 + 7
    assert network.poolings() == {}
    assert network.selections() == {}


def test_the_classifiers_gradients(source: Source, images: Tensor) -> None:
    network = LinearClassifier(source, 5)
    assert network.classifier_gradients() == []
    loss = nn.functional.cross_entropy(network(images, source(images)), torch.arange(3))
    loss.backward()  # type: ignore[no-untyped-call]

    (weight, n), (bias, also_n) = network.classifier_gradients()

    assert n == also_n == 512
    assert (weight.shape, bias.shape) == ((5, 512), (5,))
    weight.zero_()
    linear = network.head.get_submodule("fc")
    assert isinstance(linear, nn.Linear)
    assert linear.weight.grad is not None
    assert not linear.weight.grad.any()


def test_a_classifier_that_does_not_fit(source: Source) -> None:
    network = LinearClassifier(source, 5)

    for linear in (nn.Linear(512, 4), nn.Linear(600, 5)):
        with pytest.raises(SourceError, match="fc cannot begin as a linear classifier"):
            network.start_classifier(linear)


def test_a_classifier_that_is_a_convolution(images: Tensor) -> None:
    """SqueezeNet pools behind its classifier."""
    source = blank_source("squeezenet1_1")
    network = LinearClassifier(source, 5)

    assert network(images, source(images)).shape == (3, 5)
    with pytest.raises(SourceError, match=r"classifier\.1 cannot begin"):
        network.start_classifier(nn.Linear(512, 5))


def test_layers_between_features_and_classifier_stay_out(
    random_weights: RandomWeights, images: Tensor
) -> None:
    """MobileNetV3's head is a linear layer, an activation and dropout before the classifier."""
    source = Source(random_weights("mobilenet_v3_small"))

    network = LinearClassifier(source, 5)

    assert network.count_parameters() == 1024 * 5 + 5
    assert network(images, source(images)).shape == (3, 5)
