"""Networks as people write them: hooks, layers called twice, sizes as numbers, no classifier.

Each answers as the network itself, and a delta at a part of its width trains on it; or the error
says what is in the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm

import snow_deploy as snow
from tests.deploy.own_loops.networks import SIZE, Own

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch.nn import Module


class Coded(Own):
    """`Own` with a body to build on: [B, 32, 8, 8] for pictures of 32 pixels."""

    def body(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps = maps + functional.relu(self.first(maps))
        return functional.relu(self.second(maps))

    def answers(self, maps: Tensor) -> Tensor:
        found: Tensor = self.fc(maps.mean((2, 3)))
        return found


class CalledTwice(Coded):
    """The third layer three times, at two sizes, and a norm in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(32)

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.norm(self.third(self.body(images))))
        maps = functional.relu(self.norm(self.third(maps)))
        return self.answers(self.third(functional.avg_pool2d(maps, 2)))


class OneHeadForTwoViews(Coded):
    def forward(self, images: Tensor) -> Tensor:
        return (self.answers(self.body(images)) + self.answers(self.body(images.flip(3)))) / 2


class ByNumbers(Coded):
    """Squeeze and excitation, a shuffle and a flat head, with numbers in the place of sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(32, 8), nn.Linear(8, 32)
        self.fc = nn.Linear(32 * 8 * 8, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.third(self.body(images))
        gates = functional.adaptive_avg_pool2d(maps, 1).view(-1, 32)
        gates = torch.sigmoid(self.excite(functional.relu(self.squeeze(gates))))
        maps = maps * gates.view(-1, 32, 1, 1).expand(-1, 32, 8, 8)
        maps = maps.view(-1, 4, 8, 8, 8).transpose(1, 2).reshape(-1, 32, 8, 8)
        answers: Tensor = self.fc(maps.view(-1, 32 * 8 * 8))
        return answers


class Typed(Coded):
    """Asks its own weights for type and device, and `max` for values by their name."""

    def forward(self, images: Tensor) -> Tensor:
        stem: Any = self.stem[0]
        images = images.to(stem.weight.dtype).type_as(self.first.weight)
        maps = self.body(images.to(next(self.parameters()).device)).float()
        maps = maps.to(memory_format=torch.channels_last)
        best = maps.max(dim=1, keepdim=True).values + maps.min(1, keepdim=True)[0]
        return self.answers(self.third(maps * torch.sigmoid(best)))


class Placed(Coded):
    """A trained tensor as large as the maps, and coordinates beside the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 32, 8, 8))
        self.register_buffer("across", torch.linspace(-1, 1, 8).view(1, 1, 1, 8), persistent=False)
        self.third = nn.Conv2d(33, 32, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.body(images) + self.place
        across: Any = self.across
        maps = torch.cat([maps, across.expand(maps.shape[0], 1, 8, 8)], 1)
        return self.answers(functional.relu(self.third(maps)))


class Sorting(Coded):
    def forward(self, images: Tensor) -> Tensor:
        best = self.third(self.body(images)).flatten(2).topk(4, dim=2)[0]
        answers: Tensor = self.fc(best.mean(2))
        return answers


class Normed(Coded):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(32)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.body(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.answers(self.third(maps))


class Centred(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight - weight.mean((1, 2, 3), keepdim=True)


def computed() -> Module:
    """Weights that hooks and parametrisations compute, of every kind that torch has."""
    network = Own()
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(network.first)
    spectral_norm(network.second)
    parametrize.register_parametrization(network.third, "weight", Centred())
    parametrizations.orthogonal(network.fc)
    pruned: Any = prune
    pruned.l1_unstructured(network.stem[0], "weight", 0.3)
    pruned.random_structured(network.stem[0], "weight", 0.2, dim=0)
    return network


def watched() -> Module:
    """A hook that only looks on, and what a profiler leaves in a layer."""
    network = Own()
    network.third.register_forward_hook(lambda *given: given[2].numpy().mean() and None)
    network.third.register_buffer("total_ops", torch.zeros(1, dtype=torch.float64))
    return network


def of_processes() -> Module:
    network = Coded()
    network.fc = nn.Sequential(nn.Linear(32, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))  # type: ignore[assignment]
    made: Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return made


def squeezed() -> Module:
    """A ReLU behind a classifier that is a convolution."""
    made: Module = torchvision.models.squeezenet1_1(num_classes=4)
    return made


def settled(make: Callable[[], Module]) -> Module:
    """Draw a network whose norms have statistics of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make()
        for layer in network.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats:
                assert layer.running_mean is not None
                layer.running_mean.normal_(0, 0.1)
    return network.eval()


KINDS = (CalledTwice, OneHeadForTwoViews, ByNumbers, Typed, Placed, Normed, computed, watched)


@pytest.mark.parametrize("make", [*KINDS, Sorting, of_processes, squeezed])
def test_a_delta_trains_on_it_and_the_source_answers_as_it(make: Callable[[], Module]) -> None:
    network = settled(make)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    source = snow.Source.of(network, image_size=SIZE if make is not squeezed else 64)
    images = torch.randn(3, *source.anatomy.image_shape[1:])
    with torch.no_grad():
        expected = network(images)
    found = source(images)
    torch.testing.assert_close(found["logits"], expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())

    delta = snow.Delta(source, 3, snow.DeltaOptions(k_divisor=4, width_divisor=4))
    functional.cross_entropy(delta(images, found), torch.tensor([0, 1, 2])).backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is not None for each in delta.parameters())


def test_what_was_written_down_reads_back_as_the_same_source() -> None:
    """Its description is that of the network which it builds, down to the last word."""
    from snow_deploy.models.plain.description import build_described, describe

    weights = snow.Source.of(settled(Typed), image_size=SIZE).weights
    assert weights.graph is not None
    assert describe(build_described(weights.graph), "it") == weights.graph


@pytest.mark.parametrize("make", [ByNumbers, pytest.param(Sorting, marks=pytest.mark.slow)])
def test_its_graph_answers_likewise(make: Callable[[], Module], tmp_path: Path) -> None:
    network = settled(make)
    source = snow.Source.of(network, image_size=SIZE)
    delta = snow.Delta(source, 2, snow.DeltaOptions(k_divisor=4, width_divisor=4))
    store = snow.Store(tmp_path / "store")
    store.add("t", delta, labels=("x", "y"))
    snow.export(store, path=tmp_path / "g.onnx", with_source=True)

    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = network(images).numpy()
    (answers,) = session.run(["source"], {"image": images.numpy()})
    np.testing.assert_allclose(answers, expected, rtol=1e-3, atol=1e-4)


class Unsteady(Coded):
    def __init__(self) -> None:
        super().__init__()
        self.stem[1] = nn.BatchNorm2d(16, track_running_stats=False)


class OfBatch(Coded):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.body(images)
        return self.answers((maps - maps.mean()) / (maps.std() + 1e-5))


class Squeezing(Coded):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).squeeze()


class Headless(Coded):
    def forward(self, images: Tensor) -> Tensor:
        return self.body(images).mean((2, 3))


class Recurrent(Coded):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.LSTM(32, 32, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        answers: Tensor = self.fc(self.rows(self.body(images).mean(3).transpose(1, 2))[0][:, -1])
        return answers


class Picking(Coded):
    def forward(self, images: Tensor) -> Tensor:
        means = self.body(images).mean((2, 3))
        answers: Tensor = self.fc(means + means[:, (means[0] > 0).nonzero()[:, 0]].sum(1, True))
        return answers


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = Own(), Own()

    def forward(self, images: Tensor) -> Tensor:
        answers: Tensor = self.one(images) + self.other(images)
        return answers


def changed_by_a_hook() -> Module:
    network = Own()
    network.third.register_forward_hook(lambda _layer, _given, found: 2 * found)
    return network


def without_its_head() -> Module:
    network: Module = torchvision.models.resnet18()
    network.fc = nn.Identity()
    return network


REFUSED: dict[Callable[[], Module], str] = {
    Unsteady: r"stem\.1 of Unsteady keeps no running statistics",
    OfBatch: "OfBatch answers about a picture by what other pictures are in its batch",
    Squeezing: r"returns \[5\] for one picture, expected \[1, 5\]",
    Headless: r"ends in no classifier: relu\w* stands behind second, .*nn\.Linear\(32, 2\)",
    without_its_head: r"ends in no classifier: .* behind layer4\.1\.conv2",
    Several: r"answers by 2 classifiers, put together: other\.fc, one\.fc",
    changed_by_a_hook: r"answers otherwise .* Hooks were taken off first, here of third",
    Recurrent: "uses a LSTM, which cannot be written into a store",
    Picking: "shapes that Picking works with cannot be told from the picture's alone",
}
SLOW = (Picking, Recurrent, changed_by_a_hook)  # torch.export is asked too


@pytest.mark.parametrize(
    "make",
    [pytest.param(each, marks=[pytest.mark.slow] if each in SLOW else []) for each in REFUSED],
)
def test_what_cannot_be_a_source_says_what_is_in_the_way(make: Callable[[], Module]) -> None:
    with pytest.raises(snow.SourceError, match=REFUSED[make]):
        snow.Source.of(make(), image_size=SIZE)
