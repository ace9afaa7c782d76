"""What the tests of several schemes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RandomNetwork

IMAGES = (3, 3, 64, 64)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


@pytest.fixture
def images() -> Tensor:
    """Give three pictures, [3, 3, 64, 64]."""
    return torch.randn(IMAGES)


@pytest.fixture
def original(random_network: RandomNetwork) -> nn.Module:
    """Give torchvision's own ResNet-18 with the weights of the source, seven classes."""
    return random_network("resnet18")


def losses_gradient(network: nn.Module, images: Tensor, features: dict[str, Tensor]) -> None:
    """Run a training step's backward pass on classes 0, 1, 2."""
    logits = network.train()(images, features)
    nn.functional.cross_entropy(logits, torch.arange(3)).backward()  # type: ignore[no-untyped-call]
