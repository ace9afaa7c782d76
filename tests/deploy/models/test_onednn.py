from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

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


@pytest.mark.skipif(
    not onednn.is_available(torch.bfloat16), reason="this processor has no bfloat16"
)
@pytest.mark.parametrize("architecture", ["resnet18", "densenet121", "shufflenet_v2_x0_5"])
def test_bfloat16_is_as_near_as_autocast_comes(
    random_weights: RandomWeights, architecture: str
) -> None:
    """Compared with float32, which autocast keeps a DenseNet's affine norms in and packing not."""
    source, packed = (Source(random_weights(architecture)) for _ in range(2))
    packed.pack(2, 64, torch.bfloat16)
    images = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    exact = source(images)

    with torch.autocast("cpu", torch.bfloat16):
        by_autocast, found = source(images), packed(images)

    def error(features: dict[str, Tensor]) -> float:
        errors = [(features[key] - exact[key]).norm() / exact[key].norm() for key in exact]
        return float(torch.stack(errors).mean())

    assert found.keys() == exact.keys()
    assert {value.dtype for value in found.values()} == {torch.bfloat16}
    assert 0 < error(found) < 1.5 * error(by_autocast)
    convolutions = [node for node in packed.packed[0].graph.nodes if "packed" in str(node.target)]
    assert len(convolutions) > 15


@pytest.mark.parametrize("packed_for", [torch.float32, torch.bfloat16])
def test_other_precisions_run_the_plain_network(
    random_weights: RandomWeights, packed_for: torch.dtype
) -> None:
    if not onednn.is_available(packed_for):
        pytest.skip("this processor has no bfloat16")
    source = Source(random_weights("resnet18"))
    source.pack(2, 64, packed_for)
    images, ran = torch.randn(2, 3, 64, 64), []
    source.network.register_forward_hook(lambda *_: ran.append(1))

    with torch.autocast("cpu", torch.bfloat16):
        low = source(images)
    single = source(images)

    assert low["layer1.0.conv2"].dtype == torch.bfloat16
    assert single["layer1.0.conv2"].dtype == torch.float32
    assert len(ran) == 1  # the other of the two was packed


def test_nothing_is_packed_for_arithmetic_without_operators(random_weights: RandomWeights) -> None:
    source = Source(random_weights("resnet18"))

    source.pack(2, 64, torch.float16)

    assert not source.packed
