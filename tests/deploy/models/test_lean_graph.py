"""A delta's passes in training against the same layers called one by one, by autograd alone."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from torch import Tensor, fx, nn

from snow_deploy.models.delta import Delta
from snow_deploy.models.lean_convolution import LeanConvolutions
from snow_deploy.models.lean_graph import LeanGraph
from snow_deploy.models.mirror import OVERWRITTEN
from snow_deploy.models.module_facts import ModuleFacts
from snow_deploy.models.module_weights import weights_of_module
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.pooling import ChannelPooling, drawn_together
from snow_deploy.models.source import Source
from tests.deploy.models.test_delta import blank_source
from tests.deploy.models.test_lean_convolution import kept_bytes, randomize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import RandomWeights

FAMILIES = [
    "resnet18",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
]


def images_of(source: Source, batch: int = 3, size: int = 64) -> Tensor:
    dtype = next(source.network.parameters()).dtype
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(5))
    return images.to(dtype).contiguous(memory_format=torch.channels_last)


def plainly(delta: Delta, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
    """Call every layer of the delta's own graph."""
    with drawn_together(delta.poolings().values()):
        logits: Tensor = delta.network(images, features)
    return logits


def pair(source: Source, options: DeltaOptions) -> tuple[Delta, Delta]:
    torch.manual_seed(1)
    delta = Delta(source, 3, options).to(next(source.network.parameters()).dtype)
    for layer in delta.modules():
        if isinstance(layer, nn.BatchNorm2d):
            randomize(layer)
    return delta.train(), copy.deepcopy(delta).train()


def compare(source: Source, options: DeltaOptions, dtype: torch.dtype | None = None) -> None:
    """Compare logits, gradients and statistics of both ways."""
    delta, twin = pair(source, options)
    images = images_of(source)
    results = []
    for each, call in ((delta, Delta.__call__), (twin, plainly)):
        torch.manual_seed(2)
        with torch.autocast("cpu", dtype) if dtype else nullcontext():
            logits = call(each, images, source.stream(images, each.reads))
        logits.double().square().sum().backward()
        results.append(logits)
    close: dict[str, Any] = {"rtol": 1e-7, "atol": 1e-9} if dtype is None else {}
    torch.testing.assert_close(*results, **close)
    total = torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None]).norm()
    for (name, ours), theirs in zip(delta.named_parameters(), twin.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None and theirs.grad is not None:
            error = (ours.grad - theirs.grad).norm() / total
            assert error < (1e-9 if dtype is None else 0.05), name
    for (name, value), other in zip(delta.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(value, other, msg=name)


def double(weights: Any) -> Source:
    return Source(weights).double()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gets_the_gradients_of_its_layers(
    family: str, random_weights: RandomWeights
) -> None:
    compare(double(random_weights(family)), DeltaOptions())


class Lopsided(nn.Module):
    """Its convolutions pad more at the right and bottom, as TensorFlow's do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.convs = nn.ModuleList(nn.Conv2d(16, 16, 3, 2, bias=False) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(16) for _ in range(3))
        self.fc = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images).relu()
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps = norm(conv(nn.functional.pad(maps, (0, 1, 0, 1)))).relu()
        logits: Tensor = self.fc(maps.mean((2, 3)))
        return logits


def test_a_convolution_that_is_not_torchs_own_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    compare(
        double(weights_of_module(Lopsided().eval(), ModuleFacts("lopsided", 64))), DeltaOptions()
    )


class InARow(nn.Module):
    """Convolutions that read others with nothing between, and two that read the same."""

    def __init__(self, mode: Literal["zeros", "reflect"]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.one, self.two = (nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(2))
        self.left = nn.Conv2d(16, 16, 3, padding=1)
        self.right = nn.Conv2d(16, 16, 3, padding=1, padding_mode=mode)
        self.fc = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.two(self.one(self.stem(images)))
        logits: Tensor = self.fc((self.left(maps) + self.right(maps)).relu().mean((2, 3)))
        return logits


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_convolutions_in_a_row_are_called_once_each(mode: Literal["zeros", "reflect"]) -> None:
    torch.manual_seed(0)
    source = double(weights_of_module(InARow(mode).eval(), ModuleFacts("in a row", 64)))
    compare(source, DeltaOptions())
    delta = Delta(source, 3, DeltaOptions()).double().train()
    called = Counter[str]()
    for name, layer in delta.network.named_modules():
        if isinstance(layer, nn.Conv2d | ChannelPooling):
            layer.register_forward_hook(lambda *_, name=name: called.update([name]))
    images = images_of(source)
    delta(images, source.stream(images, delta.reads))
    lean = {id(layer) for each in lean_of(delta) for layer in each.layers.convolutions}
    names = {name for name, layer in delta.network.named_modules() if id(layer) in lean}
    assert names
    assert not names & called.keys()
    assert set(called.values()) <= {1}


@pytest.mark.parametrize(
    "options",
    [
        {"pooling_norm": "after"},
        {"pooling_norm": "none"},
        {"pooling_relu": False},
        {"pooling_weights": "clean"},
        {"pooling_order": "descending"},
        {"sigma2": 0.5},
        {"subscription": "conv1x1"},
        {"subscription": "attention"},
        {"subscription": "all"},
        {"k_divisor": 3, "width_divisor": 5},
    ],
    ids=str,
)
def test_so_does_every_form_of_subscription(
    options: dict[str, Any], random_weights: RandomWeights
) -> None:
    compare(double(random_weights("resnet18")), DeltaOptions(**options))


def test_autocast_gives_what_it_gives_the_layers(source: Source) -> None:
    compare(source, DeltaOptions(), torch.bfloat16)


@pytest.mark.parametrize(("family", "most"), [("resnet50", 0.5), ("mobilenet_v2", 0.62)])
def test_less_than_half_is_kept(family: str, most: float, random_weights: RandomWeights) -> None:
    source = Source(random_weights(family))
    delta, twin = pair(source, DeltaOptions())
    images = images_of(source, batch=2)

    ours = kept_bytes(lambda: (delta(images, source(images)),))
    theirs = kept_bytes(lambda: (plainly(twin, images, source(images)),))

    assert ours < most * theirs


def lean_of(delta: Delta) -> list[LeanConvolutions]:
    (lean,) = delta._lean
    return [layer for layer in lean.network.modules() if isinstance(layer, LeanConvolutions)]


def test_what_reads_the_same_is_one(random_weights: RandomWeights) -> None:
    """A block's first convolution and its shortcut's read the same four times."""
    source = Source(random_weights("resnet50"))
    delta, _ = pair(source, DeltaOptions())
    images = images_of(source)
    delta(images, source(images))

    layers = [each.layers for each in lean_of(delta)]

    assert sorted(len(each.convolutions) for each in layers) == [1] * 44 + [2] * 4
    assert all(each.pooling is not None for each in layers)
    assert sum(each.norm is not None for each in layers) == 32


def test_gradients_accumulate(source: Source) -> None:
    delta, _ = pair(source, DeltaOptions(sigma2=0))
    images = images_of(source)
    delta(images, source(images)).sum().backward()
    once = {name: p.grad.clone() for name, p in delta.named_parameters() if p.grad is not None}
    delta(images, source(images)).sum().backward()

    for name, gradient in once.items():
        torch.testing.assert_close(delta.get_parameter(name).grad, 2 * gradient)


def test_without_gradients_the_layers_are_called(source: Source) -> None:
    delta, twin = pair(source, DeltaOptions(sigma2=0))
    images = images_of(source)
    with torch.no_grad():
        ours, theirs = (each(images, source(images)) for each in (delta, twin))
        assert torch.equal(ours, theirs)
        assert torch.equal(
            delta.eval()(images, source(images)), plainly(twin.eval(), images, source(images))
        )
    assert not delta._lean


def test_its_state_is_the_same_and_it_can_be_copied(source: Source) -> None:
    delta, twin = pair(source, DeltaOptions(sigma2=0))
    images = images_of(source)
    names = list(delta.state_dict())
    delta(images, source(images)).sum().backward()

    assert list(delta.state_dict()) == names
    assert sum(1 for _ in delta.modules()) == sum(1 for _ in twin.modules())
    for again in (copy.deepcopy(delta), pickle.loads(pickle.dumps(delta))):  # noqa: S301
        again.zero_grad()
        with torch.no_grad():
            for parameter in again.parameters():
                parameter.add_(0.01)
        torch.testing.assert_close(
            again(images, source(images)), plainly(again, images, source(images))
        )
        assert all(
            layer.layers.norm is None or layer.layers.norm in set(again.modules())
            for layer in lean_of(again)
        )


def test_a_pass_that_fails_leaves_no_statistics(source: Source) -> None:
    delta, twin = pair(source, DeltaOptions(sigma2=0))
    images = images_of(source)
    broken = delta.network.get_submodule("fc").register_forward_pre_hook(lambda *_: 1 / 0)
    before = copy.deepcopy(dict(delta.named_buffers()))
    with pytest.raises(ZeroDivisionError):
        delta(images, source(images))
    broken.remove()
    delta.load_state_dict({**delta.state_dict(), **before})
    delta(images, source(images))
    plainly(twin, images, source(images))

    for ours, theirs in zip(delta.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


class WritesOver(nn.Module):
    """What a norm reads is overwritten before the convolution behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 2, 3)

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        values = self.first(images)
        normed = self.norm(values)
        values += 1
        answer: Tensor = self.second(normed) + values.mean()
        return answer


def test_what_is_overwritten_is_not_read_later() -> None:
    traced = fx.symbolic_trace(WritesOver().train())
    images = torch.randn(2, 3, 9, 9)
    untold = LeanGraph(traced)
    assert any(isinstance(layer, LeanConvolutions) for layer in untold.network.modules())
    for node in traced.graph.nodes:
        if node.name == "first":
            node.meta[OVERWRITTEN] = True  # as Mirror does

    lean = LeanGraph(traced)

    assert not any(isinstance(layer, LeanConvolutions) for layer in lean.network.modules())
    torch.testing.assert_close(lean(images, {}), traced(images, {}))


def test_a_mirror_marks_what_is_overwritten() -> None:
    """torchvision's GoogLeNet writes a ReLU over what a norm answered."""
    delta = Delta(blank_source("googlenet"), 3, DeltaOptions())

    marked = {node.name for node in delta.network.graph.nodes if OVERWRITTEN in node.meta}

    assert "conv1_bn" in marked
    assert not marked & {"conv1_conv", "relu", "maxpool1"}
