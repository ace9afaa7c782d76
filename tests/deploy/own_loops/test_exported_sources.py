"""Networks whose code torch.fx cannot follow: torch.export reads them, and all else is as usual."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import snow_deploy as snow
from snow_deploy.models.plain import exported
from tests.deploy.own_loops.networks import SIZE, Own

if TYPE_CHECKING:
    from pathlib import Path


class Followed(Own):
    """What all of these do, as torch.fx can follow it."""

    def __init__(self) -> None:
        super().__init__(4)
        self.side = nn.ModuleList(nn.Conv2d(32, 32, 1) for _ in range(3))
        self.norm = nn.BatchNorm2d(32)

    def features(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps = maps + functional.relu(self.first(maps))
        return functional.silu(self.norm(self.second(maps)))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(0.5 * images)
        maps = maps + torch.relu(self.side[0](maps))
        maps = maps + torch.relu(self.side[1](maps))
        small = functional.avg_pool2d(self.third(maps), 2, 2)
        large = functional.interpolate(small, size=maps.shape[2:], mode="bilinear")
        maps = torch.cat([maps[:, :16], large[:, 16:]], 1)
        answers: Tensor = self.fc(maps.mean((2, 3)))
        return answers


class BySize(Followed):
    """The same by assertions, tables, counts and lists that follow from the picture's size."""

    def forward(self, *pictures: Tensor, mask: Tensor | None = None) -> Tensor:
        (images,) = pictures
        assert isinstance(images, Tensor)
        assert len(images.shape) == 4, "expected a batch of pictures"
        if mask is not None:
            images = images * mask
        maps = self.features({SIZE: 0.5, 2 * SIZE: 0.25}[images.shape[-1]] * images)
        height, width = maps.shape[2:]
        for layer in list(self.side)[: round(height / 4.5)]:
            maps = maps + torch.relu(layer(maps))
        small = functional.avg_pool2d(self.third(maps), (height // 4, width // 4))
        large = functional.interpolate(small, size=(height, width), mode="bilinear")
        parts = [maps[:, : 4 * len(maps.shape)], large[:, 16:]]
        return torch.as_tensor(self.fc(torch.cat(parts, 1).mean((2, 3))))


class Written(Followed):
    """A tensor made for the batch, a part of one written, weights that are computed."""

    def __init__(self) -> None:
        super().__init__()
        parametrizations.weight_norm(self.second)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        total = torch.zeros(images.shape[0], *maps.shape[1:])
        for layer in self.side:
            total = total + layer(maps)
        total[:, 4:12] = maps[:, 4:12] * 2
        maps = total
        answers: Tensor = self.fc(maps.mean((2, 3)))
        return answers


class Counted(Followed):
    """The number of pictures as an int, of which torch.fx makes a constant."""

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.adaptive_avg_pool2d(self.features(images), 1)
        answers: Tensor = self.fc(maps.view(int(images.size(0)), -1))
        return answers


class Filled(Followed):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        zeros = torch.zeros(images.shape[0], 2, *maps.shape[2:])
        answers: Tensor = self.fc(torch.cat([maps[:, 2:], zeros], 1).mean((2, 3)))
        return answers


class OneByOne(Followed):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        return torch.stack([self.fc(each.mean((1, 2))) for each in maps])


class ByValue(Followed):
    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        if maps.mean() > 0:
            maps = -maps
        answers: Tensor = self.fc(maps.mean((2, 3)))
        return answers


def drawn(kind: type[Own]) -> Own:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = kind()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                layer.running_mean.normal_(0, 0.1)
    return network.eval()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """List what torch.export was asked to read."""
    found: list[nn.Module] = []
    trace = exported.trace_exported

    def note(network: nn.Module, image_size: tuple[int, int]) -> Any:
        found.append(network)
        return trace(network, image_size)

    monkeypatch.setattr("snow_deploy.models.plain.make_plain.trace_exported", note)
    return found


def walk(network: nn.Module, folder: Path) -> snow.Source:
    """Go from a network to a graph; compare each answer with the network's own."""
    source = snow.Source.of(network, image_size=SIZE, name="it")
    images = torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(images)
        torch.testing.assert_close(source(images)["logits"], expected, rtol=1e-4, atol=1e-5)
    delta = snow.Delta(source, 3, snow.DeltaOptions(k_divisor=4, width_divisor=4))
    loss = functional.cross_entropy(delta(images, source(images)), torch.tensor([0, 1, 2, 0, 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is not None for each in delta.parameters())
    torch.optim.SGD(delta.parameters(), 0.1).step()
    store = snow.Store(folder / "store")
    store.add("t", delta, labels=("x", "y", "z"))
    snow.export(store, path=folder / "g.onnx", with_source=True)  # compares with torch, too

    session = onnxruntime.InferenceSession(folder / "g.onnx", providers=["CPUExecutionProvider"])
    for batch in (images, images[:1]):
        answers, of_task = session.run(["source", "t"], {"image": batch.numpy()})
        np.testing.assert_allclose(answers, expected[: len(batch)], rtol=1e-3, atol=1e-4)
        with torch.no_grad():
            own = copy.deepcopy(delta).eval()(batch, source(batch))
        np.testing.assert_allclose(of_task, own, rtol=1e-3, atol=1e-4)
    return source


def test_what_decides_by_size_is_read_as_its_plain_twin(
    asked: list[nn.Module], tmp_path: Path
) -> None:
    source = walk(drawn(BySize), tmp_path)
    (network,) = asked
    assert isinstance(network, BySize)

    twin = snow.Source.of(drawn(Followed), image_size=SIZE, name="it")
    assert len(asked) == 1  # torch.fx read that one
    assert [each.name for each in source.anatomy.taps] == [each.name for each in twin.anatomy.taps]
    found, expected = (
        {name: repr(layer) for name, layer in each.weights.build().named_modules() if name}
        for each in (source, twin)
    )
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Written, Counted])
def test_others_go_the_whole_way(kind: type[Own], asked: list[nn.Module], tmp_path: Path) -> None:
    walk(drawn(kind), tmp_path)
    assert len(asked) == 1


def test_computed_weights_need_no_export(asked: list[nn.Module]) -> None:
    network = drawn(Followed)
    parametrizations.weight_norm(network.second)
    parametrizations.spectral_norm(network.third)
    source = snow.Source.of(network.eval(), image_size=SIZE)
    images = torch.randn(3, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(source(images)["logits"], network(images), rtol=1e-4, atol=1e-5)
    names = [
        name for name, each in source.weights.build().named_modules() if type(each) is nn.Conv2d
    ]
    assert {"second", "third"} < set(names)
    assert not asked


@pytest.mark.parametrize(
    ("kind", "line", "reason"),
    [
        (ByValue, "if maps.mean() > 0:", "it decides by the values of tensors"),
        pytest.param(
            *(
                Filled,
                "torch.zeros(images.shape[0]",
                "it makes a tensor for the number of pictures",
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(
                OneByOne,
                "cannot be run on shapes alone",
                "it decides by the number of pictures in a batch",
            ),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_neither_can_follow_says_both_reasons(
    kind: type[Own], line: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(snow.SourceError) as refused:
        snow.Source.of(drawn(kind), image_size=SIZE)
    assert line in str(refused.value)
    assert f"torch.export was tried too, and does not read it: {reason}" in str(refused.value)
    assert capfd.readouterr() == ("", "")  # torch prints graphs and tracebacks
