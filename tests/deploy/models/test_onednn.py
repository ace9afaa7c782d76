from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from snow_deploy.models import onednn
from snow_deploy.models.source import Source

if TYPE_CHECKING:
    from tests.conftest import RandomWeights

pytestmark = pytest.mark.skipif(not onednn.is_available(), reason="this torch has no oneDNN")


@pytest.mark.parametrize(
    "architecture", ["resnet18", "mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x0_5"]
)
def test_packed_features_are_the_same(random_weights: RandomWeights, architecture: str) -> None:
    weights = random_weights(architecture)
    plain, packed = Source(weights), Source(weights)
    packed.pack(2, 64)

    for shape in ((2, 3, 64, 64), (3, 3, 96, 96)):
        images = torch.randn(shape).to(memory_format=torch.channels_last)
        expected, found = plain(images), packed(images)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key].stride() == value.stride()
            scale = value.abs().max()
            torch.testing.assert_close(found[key] / scale, value / scale, rtol=1e-4, atol=1e-5)


def test_sums_and_relus_are_fused(random_weights: RandomWeights) -> None:
    """A pass of ResNet-18 is its 20 convolutions, a pooling at each end and the classifier."""
    network = Source(random_weights("resnet18")).network

    packed = onednn.pack(network, torch.zeros(1, 3, 64, 64))

    called = [node for node in packed.graph.nodes if node.op.startswith("call")]
    assert sum("packed" in str(node.target) for node in called) == 20
    assert len(called) == 20 + 4  # and a flatten
    assert len(list(network.graph.nodes)) > 50


def test_a_pass_keeps_what_it_read(random_weights: RandomWeights) -> None:
    """Nothing is summed into a tensor that somebody subscribes to."""
    source = Source(random_weights("resnet18"))
    source.pack(2, 64)
    images = torch.randn(2, 3, 64, 64)

    first = {key: value.clone() for key, value in source(images).items()}
    again = source(images)

    assert all(torch.equal(again[key], value) for key, value in first.items())


def test_other_precisions_run_the_plain_network(random_weights: RandomWeights) -> None:
    source = Source(random_weights("resnet18"))
    source.pack(2, 64)

    with torch.autocast("cpu", torch.bfloat16):
        features = source(torch.randn(2, 3, 64, 64))

    assert features["layer1.0.conv2"].dtype == torch.bfloat16
