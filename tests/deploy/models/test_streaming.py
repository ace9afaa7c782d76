from __future__ import annotations

import weakref
from collections import Counter, UserDict
from functools import partial
from typing import TYPE_CHECKING, get_args

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.models.anatomy import HEAD
from snow_deploy.models.delta import Delta
from snow_deploy.models.network import Scheme
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes import build_network
from snow_deploy.models.source import Source
from snow_deploy.models.streaming import split_at_features
from snow_deploy.training.options import TrainOptions
from snow_export.network import LOGITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import RandomWeights

ARCHITECTURES = ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5"]


class Noting(UserDict[str, Tensor]):
    """Notes what is looked up."""

    def __init__(self, features: dict[str, Tensor]) -> None:
        super().__init__(features)
        self.asked: list[str] = []

    def __getitem__(self, key: str) -> Tensor:
        self.asked.append(key)
        return super().__getitem__(key)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)


@pytest.fixture
def own(random_weights: RandomWeights) -> Source:
    """Give a source that no other test sees."""
    return Source(random_weights("resnet18"))


def leave(source: Source) -> None:
    """Run a source as it is built."""


def pack(source: Source) -> None:
    source.pack(2, 64)


def split(source: Source) -> None:
    source.network = split_at_features(source.network)
    assert len(list(source.network.children())) > len(source.anatomy.subscriptions) / 2


@pytest.mark.parametrize("prepare", [leave, pack, split])
@pytest.mark.parametrize(
    "architecture",
    [
        *ARCHITECTURES[:2],
        *(pytest.param(each, marks=pytest.mark.slow) for each in ARCHITECTURES[2:]),
    ],
)
def test_a_stream_gives_the_same_features(
    random_weights: RandomWeights,
    images: Tensor,
    architecture: str,
    prepare: Callable[[Source], None],
) -> None:
    source = Source(random_weights(architecture))
    plain = source(images)
    prepare(source)
    expected = source(images)

    stream = source.stream(images, list(expected))

    assert set(stream) == set(expected) == set(plain)
    assert len(stream) == len(expected)
    for key, value in expected.items():
        torch.testing.assert_close(stream[key], value, rtol=0, atol=0)
        torch.testing.assert_close(value, plain[key], rtol=1e-4, atol=1e-4)


def test_each_part_is_compiled(
    own: Source, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By torch's compiler as far as the graph: its code generation would take half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    expected = own(images)

    own.compile_parts()

    parts = list(own.network.children())
    assert all(part._compiled_call_impl is not None for part in parts)
    stream = own.stream(images, list(expected))
    for key, value in expected.items():
        torch.testing.assert_close(stream[key], value, rtol=1e-4, atol=1e-4)


def test_a_feature_is_let_go_once_it_is_read(own: Source, images: Tensor) -> None:
    keys = [item.name for item in own.anatomy.subscriptions]
    stream = own.stream(images, keys)
    read = []

    for key in keys:
        feature = stream[key]
        read.append(weakref.ref(feature))
        del feature

    assert not [reference for reference in read if reference() is not None]
    assert not stream._values


def test_nothing_is_computed_behind_the_last_that_is_read(own: Source, images: Tensor) -> None:
    ran: list[str] = []
    for name, layer in own.network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda *_, name=name: ran.append(name))
    keys = [item.name for item in own.anatomy.subscriptions]
    own(images)
    everything = list(ran)
    ran.clear()

    stream = own.stream(images, keys[:3])

    assert ran == []
    for key in keys[:3]:
        _ = stream[key]
    assert ran == everything[: len(ran)]
    assert 0 < len(ran) < len(everything) / 2


def test_a_feature_is_there_as_often_as_was_said(own: Source, images: Tensor) -> None:
    stream = own.stream(images, [HEAD, HEAD])

    assert stream[HEAD] is stream[HEAD]
    with pytest.raises(KeyError, match="more often"):
        _ = stream[HEAD]
    with pytest.raises(KeyError, match="none of the features"):
        _ = stream[LOGITS]


@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_a_network_reads_what_it_says(random_weights: RandomWeights, scheme: Scheme) -> None:
    source = Source(random_weights("resnet18"))
    network = build_network(source, 4, TrainOptions(scheme=scheme)).eval()
    images = torch.randn(2, 3, 64, 64)
    features = Noting(source(images))

    expected = network(images, features)

    assert Counter(features.asked) == Counter(network.reads)
    found = network(images, source.stream(images, network.reads))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("subscription", ["pooling", "conv1x1", "attention", "all"])
def test_gradients_are_the_same(source: Source, images: Tensor, subscription: str) -> None:
    options = DeltaOptions(subscription=subscription, sigma2=0)  # type: ignore[arg-type]
    delta = Delta(source, 4, options)

    def gradients(features: object) -> list[Tensor]:
        delta.zero_grad()
        delta(images, features).square().sum().backward()
        return [each.grad.clone() for each in delta.parameters() if each.grad is not None]

    expected = gradients(source(images))
    found = gradients(source.stream(images, delta.reads))

    assert len(found) == len(list(delta.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
