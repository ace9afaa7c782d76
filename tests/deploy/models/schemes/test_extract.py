from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from snow_deploy.errors import SourceError
from snow_deploy.models.schemes.extract import FeatureExtraction
from tests.deploy.models.schemes.conftest import losses_gradient
from tests.deploy.models.test_delta import blank_source

if TYPE_CHECKING:
    from snow_deploy.models.source import Source


def thin_stage(width: int) -> nn.Sequential:
    """Build torchvision's own fourth stage, thin, on the third one's 256 channels."""
    downsample = nn.Sequential(nn.Conv2d(256, width, 1, 2, bias=False), nn.BatchNorm2d(width))
    return nn.Sequential(BasicBlock(256, width, 2, downsample), BasicBlock(width, width))


@pytest.mark.parametrize("size", [(64, 64), (36, 80)])
def test_it_is_a_thin_fourth_stage_on_the_frozen_third(
    source: Source, original: nn.Module, images: Tensor, size: tuple[int, int]
) -> None:
    images = torch.nn.functional.interpolate(images, size)
    network = FeatureExtraction(source, 5, width=8).eval()
    state = network.head.state_dict()
    stage, classifier = thin_stage(512 // 8).eval(), nn.Linear(64, 5)
    stage.load_state_dict(
        {k.removeprefix("layer4."): v for k, v in state.items() if k.startswith("layer4.")}
    )
    classifier.load_state_dict(
        {k.removeprefix("fc."): v for k, v in state.items() if k.startswith("fc.")}
    )
    third = images
    for name, layer in original.named_children():
        if name == "layer4":
            break
        third = layer(third)

    with torch.no_grad():
        seen = network(images, source(images))
        expected = classifier(stage(third).mean((2, 3)))

    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)
    assert len(state) == len(stage.state_dict()) + 2


def test_only_its_own_parameters_are_trained(source: Source, images: Tensor) -> None:
    network = FeatureExtraction(source, 5, width=8)

    losses_gradient(network, images, source(images))

    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in source.parameters())


def test_a_source_without_stages_is_refused() -> None:
    with pytest.raises(SourceError, match="mobilenet_v2 has no fourth stage"):
        FeatureExtraction(blank_source("mobilenet_v2"), 5, width=8)
