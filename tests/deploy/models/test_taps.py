"""Taps and their means, against the unfolded network's own tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, fx, nn

from snow_deploy.models import onednn
from snow_deploy.models.anatomy import dissect, on_meta_device, trace
from snow_deploy.models.fold_source import tap_key
from snow_deploy.models.schemes.readout import Readout
from snow_deploy.models.source import Source
from snow_deploy.models.weights import build_architecture

if TYPE_CHECKING:
    from tests.conftest import RandomNetwork, RandomWeights

RUN = {
    "resnet18": 8,
    "squeezenet1_1": 19,
    "mobilenet_v2": 24,
    "mobilenet_v3_small": 17,
    "shufflenet_v2_x0_5": 17,
    "mnasnet0_5": 24,
    "regnet_y_400mf": 16,
    "densenet121": 4,
    "efficientnet_b0": 24,
}
"""Families that are quick to build, and the number of their taps."""
QUICK = ("resnet18", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5")
COUNTED = {"resnet50": (16, 15104), "vgg11_bn": (7, 6272), "alexnet": (4, 4928)}
"""Taps and features of those that are not run."""


class Noted(fx.Interpreter):
    """Keeps a copy of what each node makes, as it is when it is made."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.made = dict[str, Tensor]()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.made[n.name] = value.clone()
        return value


def pooled(source: Source, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return the means of the unfolded network's tensors, by key."""
    noted = Noted(trace(network))
    with torch.no_grad():
        noted.run(images)
    return {
        tap_key(tap): noted.made[tap.node].mean((2, 3)) if tap.is_map else noted.made[tap.node]
        for tap in source.anatomy.taps
    }


def check(found: Tensor, expected: Tensor) -> None:
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(2, 3, 64, 64, generator=generator)
    return drawn.to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "architecture",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RUN],
)
def test_means_are_those_of_the_unfolded_networks_tensors(
    random_weights: RandomWeights, random_network: RandomNetwork, architecture: str, images: Tensor
) -> None:
    """Whole, streamed and packed, whatever is folded or overwrites its input."""
    source = Source(random_weights(architecture))
    plain = source(images)
    source.pool_taps()
    source.pool_taps()  # once more changes nothing
    taps = source.anatomy.taps
    keys = [tap_key(tap) for tap in taps]
    expected = pooled(source, random_network(architecture), images)

    whole = source(images)
    stream = source.stream(images, keys)
    streamed = {key: stream[key] for key in keys}
    if onednn.is_available():
        source.pack(2, 64)
    packed = source(images)
    stream = source.stream(images, keys)
    packed_streamed = {key: stream[key] for key in keys}

    assert len(taps) == RUN[architecture]
    assert len(set(keys)) == len(keys)
    assert taps[-1].name == "head"
    for tap, key in zip(taps, keys, strict=True):
        assert expected[key].shape == (2, tap.channels)
        for found in (whole, streamed, packed, packed_streamed):
            check(found[key], expected[key])
    for key, value in plain.items():  # all else is as it was
        torch.testing.assert_close(whole[key], value, rtol=0, atol=0)


def test_a_blocks_tap_is_what_the_block_puts_out(
    random_weights: RandomWeights, random_network: RandomNetwork, images: Tensor
) -> None:
    network, seen = random_network("resnet18"), dict[str, Tensor]()
    source = Source(random_weights("resnet18"))
    source.pool_taps()
    for tap in source.anatomy.taps[:-1]:

        def hook(_layer: nn.Module, _given: Any, found: Tensor, key: str = tap_key(tap)) -> None:
            seen[key] = found.mean((2, 3))

        network.get_submodule(tap.name).register_forward_hook(hook)
    with torch.no_grad():
        network(images)

    found = source(images)

    assert [*seen] == [f"layer{a}.{b}.mean" for a in (1, 2, 3, 4) for b in (0, 1)][:-1]
    for key, value in seen.items():
        check(found[key], value)


@pytest.mark.parametrize("architecture", COUNTED)
def test_large_networks_have_them_too(architecture: str) -> None:
    with torch.device("meta"):
        traced = on_meta_device(trace(build_architecture(architecture, 7).eval()))
    taps = dissect(traced, torch.zeros(1, 3, 224, 224, device="meta")).taps

    assert (len(taps), sum(tap.channels for tap in taps)) == COUNTED[architecture]
    assert len({tap.name for tap in taps}) == len(taps)


def test_a_head_that_is_a_map_is_averaged(random_weights: RandomWeights, images: Tensor) -> None:
    source = Source(random_weights("squeezenet1_1"))
    source.pool_taps()
    features = source(images)

    assert features["head"].ndim == 4
    check(features["head.mean"], features["head"].mean((2, 3)))


def test_it_can_be_asked_of_a_source_that_is_packed(
    random_weights: RandomWeights, images: Tensor
) -> None:
    """Fast passes return the means too, whatever came first."""
    source = Source(random_weights("resnet18"))
    source.pack(2, 64)
    source.pool_taps()

    keys = [tap_key(tap) for tap in source.anatomy.taps]

    assert set(keys) <= set(source(images))
    assert all(len(source.stream(images, [key])[key]) == 2 for key in keys)


def test_a_readout_reads_its_columns_of_all_taps(
    random_weights: RandomWeights, random_network: RandomNetwork, images: Tensor
) -> None:
    source = Source(random_weights("resnet18"))
    network = Readout(source, 3, features=5)
    every = torch.cat([*pooled(source, random_network("resnet18"), images).values()], 1)
    index = torch.tensor([0, 63, 64, 1400, every.shape[1] - 1])
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(3, 5, generator=generator), torch.randn(3, generator=generator)
    state = {"index": index, "classifier.weight": weight, "classifier.bias": bias}
    network.load_state_dict(state)

    with torch.no_grad():
        found = network(images, source(images))

    check(found, every[:, index] @ weight.T + bias)
    assert network.selections() == {
        "layer1.0": (0, 63),
        "layer1.1": (0,),
        "layer4.0": (1400 - 896,),
        "head": (511,),
    }
    assert sum(network.feature_widths.values()) == every.shape[1]
