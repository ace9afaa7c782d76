from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from snow_deploy.errors import SourceError
from snow_deploy.models.source import Source
from snow_deploy.models.source_checks import check_pictures

if TYPE_CHECKING:
    from snow_deploy.models.weights import SourceWeights
    from tests.conftest import RandomNetwork, RandomWeights


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "alexnet", "googlenet"])
def test_the_smallest_pictures_are_named(
    random_weights: RandomWeights, random_network: RandomNetwork, architecture: str
) -> None:
    """torchvision's own network is the judge of which they are."""
    source, network = Source(random_weights(architecture)), random_network(architecture)

    def reads(size: int) -> bool:
        try:
            with torch.no_grad():
                network(torch.zeros(1, 3, size, size))
        except RuntimeError:
            return False
        return True

    least = next(size for size in range(1, 100) if reads(size))

    check_pictures(source, least)
    with pytest.raises(
        SourceError,
        match=rf"{architecture} cannot read pictures of {least - 1} x .* --image-size {least} or",
    ):
        check_pictures(source, least - 1)


def test_the_smallest_of_the_same_aspect_are_named(random_weights: RandomWeights) -> None:
    source = Source(random_weights("alexnet"))
    with pytest.raises(
        SourceError, match=r"of 40 x 80 pixels: .* --image-size (\d+)x(\d+) or"
    ) as error:
        check_pictures(source, (40, 80))
    height, width = map(int, re.findall(r"--image-size (\d+)x(\d+)", str(error.value))[0])
    assert abs(2 * height - width) <= 1
    check_pictures(source, (height, width))
    with pytest.raises(SourceError):
        check_pictures(source, (height - 1, 2 * (height - 1)))


def changed(weights: SourceWeights, key: str, value: float) -> SourceWeights:
    state: dict[str, Tensor] = dict(weights.state)
    state[key] = torch.full_like(state[key], value)
    return replace(weights, state=state)


def test_weights_that_overflow_when_folded(weights: SourceWeights) -> None:
    """Each is finite, their product is not."""
    large = changed(changed(weights, "bn1.weight", 1e30), "conv1.weight", 1e30)

    with pytest.raises(SourceError, match=r"conv1\.weight of the resnet18, with its norm folded"):
        Source(large)


def test_features_that_overflow(weights: SourceWeights) -> None:
    """Every weight is finite, folded too; what they make of a picture is not."""
    large = changed(changed(weights, "bn1.weight", 1e30), "layer1.0.bn1.weight", 1e30)

    with pytest.raises(SourceError, match="is infinite or NaN, though the weights are not"):
        check_pictures(Source(large), 64)


def test_packing_does_not_hide_what_is_not_finite(weights: SourceWeights) -> None:
    """A packed convolution's ReLU makes a zero of NaN, and the answers would look right."""
    source = Source(weights)
    with torch.no_grad():
        source.network.get_parameter("layer1.0.conv1.weight")[3] = float("nan")

    with pytest.raises(SourceError, match=r"layer1\.0\.conv1\.weight of the resnet18"):
        source.pack(2, 64)


def test_the_check_draws_nothing_from_the_seed(source: Source) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()

    check_pictures(source, 64)

    assert torch.equal(torch.random.get_rng_state(), before)
