from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import torch

from snow_deploy.errors import SourceError
from snow_deploy.models.smallest import check_image_size
from snow_deploy.models.source import Source

if TYPE_CHECKING:
    from tests.conftest import RandomNetwork, RandomWeights


@pytest.mark.parametrize("architecture", ["alexnet", "inception_v3"])
def test_the_least_side_that_is_named_is_the_least(
    random_weights: RandomWeights, random_network: RandomNetwork, architecture: str
) -> None:
    """The network itself is the reference: it fails one pixel below."""
    source = Source(random_weights(architecture))

    with pytest.raises(SourceError, match="cannot read pictures of 32 pixels") as caught:
        check_image_size(source, 32)

    found = re.search(r"--image-size (\d+)", str(caught.value))
    assert found is not None
    least = int(found[1])
    check_image_size(source, least)
    network = random_network(architecture)
    with torch.no_grad():
        network(torch.zeros(1, 3, least, least))
        with pytest.raises(RuntimeError):
            network(torch.zeros(1, 3, least - 1, least - 1))


def test_a_size_that_fits_passes(source: Source) -> None:
    check_image_size(source, 32)
