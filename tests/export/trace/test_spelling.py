"""Operations in all their spellings: side by side, fused, and in ONNX they are the same."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import Permute, stochastic_depth

from snow_export.emit import EXAMPLE_BATCH, emit
from snow_export.errors import ExportError
from snow_export.layout import arrange
from snow_export.network import SharedNetwork, flatten_network
from snow_runtime.graph.manifest import InputEntry, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from snow_runtime.graph.manifest import Layout

SIZE = 8
IMAGES = torch.randn(EXAMPLE_BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
MORE = torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


class Frozen(nn.Module):
    """A source of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        seen = self.conv(images)
        return {"seen": seen, "logits": seen.mean((2, 3))}


class Spelled(nn.Module):
    """A delta: two convolutions, what is tried between them, and a classifier."""

    def __init__(
        self, classes: int, tried: Callable[..., Tensor] | nn.Module, *, pools: bool
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.deep = nn.Conv2d(8 + 6, 8, 1)
        self.fc = nn.Linear(8, classes)
        self.norm = nn.LayerNorm(8)
        self.mixer = nn.Linear(8, 8)
        self.to_last, self.to_first = Permute([0, 2, 3, 1]), Permute([0, 3, 1, 2])
        self.wide = nn.BatchNorm2d(16)
        for values in (self.wide.running_var, self.wide.weight.data):
            nn.init.uniform_(values, 0.5, 1.5)  # type: ignore[arg-type]
        for values in (self.wide.running_mean, self.wide.bias.data):
            nn.init.normal_(values)  # type: ignore[arg-type]
        self.scale = nn.Parameter(torch.randn(8, 1, 1))
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)
        self.tried = tried
        self.pools = pools

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        x = self.stem(images)
        x = self.tried(x) if isinstance(self.tried, nn.Module) else self.tried(self, x)
        if not self.pools:
            x = self.deep(torch.cat([x, features["seen"]], 1)).mean((2, 3))
        logits: Tensor = self.fc(x)
        return logits


def deltas_of(tried: Callable[..., Tensor], *, pools: bool = False) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    made = {name: Spelled(n, tried, pools=pools) for name, n in (("a", 3), ("b", 5), ("c", 4))}
    return {name: delta.eval() for name, delta in made.items()}


def onnx_answers(network: SharedNetwork, images: Tensor) -> list[np.ndarray]:
    entry, preprocessing = InputEntry(), Preprocessing.for_size(SIZE)
    model = emit(flatten_network(network), network, entry, preprocessing, IMAGES)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return list(session.run(None, {entry.name: images.numpy()}))


def check(deltas: dict[str, nn.Module], *, groups: int = 1, layout: Layout = "fused") -> None:
    """Compare torch's own answers with those of the fused network, and of both in ONNX."""
    torch.manual_seed(1)
    source = Frozen().eval()
    with torch.no_grad():
        expected = [delta(MORE, source(MORE)) for delta in deltas.values()]
        arranged = arrange(deltas, layout, (IMAGES, source(IMAGES)))
        assert len(arranged.heads) == groups, arranged.unfused
        fused = SharedNetwork(source, arranged.heads, tuple(deltas)).eval()
        apart = SharedNetwork(
            source, arrange(deltas, "separate", (IMAGES, source(IMAGES))).heads, tuple(deltas)
        ).eval()
        for seen, wanted in zip(fused(MORE), expected, strict=True):
            torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-5)
        for network in (fused, apart):
            for seen, wanted in zip(onnx_answers(network, MORE), expected, strict=True):
                torch.testing.assert_close(torch.from_numpy(seen), wanted, rtol=1e-4, atol=1e-5)


def shuffled(x: Tensor, groups: int = 2) -> Tensor:
    batch, channels, height, width = x.size()
    x = x.view(batch, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(batch, channels, height, width)


def halves(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return torch.cat((second, functional.relu(first)), dim=1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": lambda x: functional.relu(x, inplace=True),
    "F.relu by position": lambda x: functional.relu(x, True),
    "relu_": lambda x: x.relu_(),
    "torch.relu_": torch.relu_,
    "overwritten": lambda x: (x.add_(0.5), x)[1],
    "F.relu6": lambda x: functional.relu6(input=x),
    "F.hardtanh": lambda x: functional.hardtanh(x, min_val=-0.5, max_val=0.25),
    "clamp": lambda x: x.clamp(min=0.1),
    "clip_": lambda x: torch.clip(x, max=0.2),
    "clamp_max": lambda x: x.clamp_max(0.2),
    "sigmoid": lambda x: x.sigmoid() * torch.sigmoid(input=x) + functional.sigmoid(x),
    "tanh": lambda x: x.tanh() - torch.tanh(x) / 3 + functional.tanh(x),
    "F.silu": lambda x: functional.silu(x, inplace=True),
    "F.gelu": functional.gelu,
    "F.hardswish": functional.hardswish,
    "F.hardsigmoid": functional.hardsigmoid,
    "F.leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
    "F.elu": lambda x: functional.elu(x, alpha=0.7),
    "F.dropout": lambda x: functional.dropout(x, 0.3, training=False),
    "stochastic_depth": lambda x: stochastic_depth(x, 0.3, "row", training=False),
    "layers": nn.Sequential(nn.LeakyReLU(0.2), nn.ELU(0.5), nn.Tanh(), nn.Dropout2d(), nn.SiLU()),
}

SUMS: dict[str, Callable[..., Tensor]] = {
    "torch.add": lambda m, x: torch.add(input=x, other=m.gate(x), alpha=2),
    "add": lambda m, x: x.add(m.gate(x), alpha=-0.5),
    "add_": lambda m, x: x.add_(m.gate(x)),
    "iadd": lambda m, x: operator.iadd(x, m.gate(x)),  # type: ignore[no-untyped-call]
    "sub": lambda m, x: torch.sub(x, m.gate(x)).subtract(1.0),
    "mul": lambda m, x: torch.multiply(x, m.gate(x)).mul(0.5),
    "from a number": lambda m, x: 1 - m.gate(x) / 2 + x * 3,
    "out": lambda m, x: torch.add(x, 1.0, out=x) + m.gate(x),
    "scale": lambda m, x: m.scale * x + m.scale,
    "norm behind a concatenation": lambda m, x: (
        m.wide(torch.cat([x, m.gate(x)], 1)).relu()[:, 4:12] + x
    ),
    "squeeze and excite": lambda m, x: x * m.gate(x.mean((2, 3), keepdim=True)).sigmoid(),
}

POOLED: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten by keyword": lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(start_dim=1),
    "torch.flatten": lambda x: torch.flatten(input=x.mean((-1, -2), keepdim=True), start_dim=-3),
    "nn.Flatten": nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()),
    "mean by axis": lambda x: torch.mean(x, axis=(2, 3)),  # type: ignore[call-overload]
    "mean of lists": lambda x: x.mean([-2, -1], True).squeeze(3).squeeze(2),
    "one axis at a time": lambda x: x.mean(3).mean(dim=-1),
    "view": lambda x: functional.avg_pool2d(x, kernel_size=x.shape[2:]).view(x.size(0), -1),
    "reshape": lambda x: functional.adaptive_avg_pool2d(x, (1, 1)).reshape(len_of(x), 8),
    "indices": lambda x: functional.adaptive_avg_pool2d(x, output_size=1)[:, :, 0, 0],
    "rows": lambda x: x.flatten(2).mean(2),
    "rows by view": lambda x: x.view(x.size(0), x.size(1), -1).mean(dim=-1),
    "max": lambda x: functional.max_pool2d(x, SIZE, ceil_mode=True).flatten(1),
}

MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "shuffle": shuffled,
    "shuffle of four": lambda x: shuffled(shuffled(x, 4), 2),
    "nn.ChannelShuffle": nn.ChannelShuffle(4),
    "halves": halves,
    "shuffled halves": lambda x: shuffled(halves(shuffled(halves(x)))),
    "split": lambda x: torch.cat(torch.split(x, [3, 5], 1), 1),
    "slices": lambda x: torch.cat([x[:, 4:], functional.relu(x[:, :4])], dim=1),
    "every second": lambda x: torch.concat([x[:, ::2], x[:, 1::2] * 2], axis=1),  # type: ignore[call-arg]
    "narrow": lambda x: torch.cat([x.narrow(1, 2, 6), x.narrow(1, 0, 2)], -3),
    "backwards": lambda x: torch.cat(x.split(3, dim=1)[::-1], 1),  # type: ignore[no-untyped-call]
    "selected": lambda x: torch.cat([x.select(1, 5).unsqueeze(1), x[:, :7]], 1),
    "there and back": lambda x: x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2),
    "swapped": lambda x: torch.swapaxes(x.swapdims(1, 3).movedim(2, 1), 1, 3).transpose(2, 3),
}

LAST: dict[str, Callable[..., Tensor]] = {
    "norm": lambda m, x: m.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "block": lambda m, x: x + m.to_first(functional.gelu(m.mixer(m.norm(m.to_last(x))))) * m.scale,
    "scaled": lambda m, x: (m.mixer(x.permute(0, 2, 3, 1)) * m.scale.flatten()).permute(0, 3, 1, 2),
    "tokens": lambda m, x: (
        m.mixer(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape).relu()
    ),
}


def alone(tried: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Let a function of a tensor be one of the delta too; a layer becomes a part of it."""
    return tried if isinstance(tried, nn.Module) else lambda _, x: tried(x)


def len_of(x: Tensor) -> int:
    return x.shape[0]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    check(deltas_of(alone(ACTIVATIONS[name])))


@pytest.mark.parametrize("name", SUMS)
def test_arithmetic(name: str) -> None:
    check(deltas_of(SUMS[name]))


@pytest.mark.parametrize("name", POOLED)
def test_pooling_and_flattening(name: str) -> None:
    check(deltas_of(alone(POOLED[name]), pools=True))


@pytest.mark.parametrize("layout", ["fused", "summed"])
@pytest.mark.parametrize("name", MOVES)
def test_moving_channels(name: str, layout: Layout) -> None:
    check(deltas_of(alone(MOVES[name])), layout=layout)


@pytest.mark.parametrize("name", LAST)
def test_channels_that_come_last(name: str) -> None:
    check(deltas_of(LAST[name]))


@pytest.mark.parametrize(
    ("tried", "reason"),
    [
        (lambda _, x: x.softmax(1), "softmax"),
        (lambda _, x: x * x.mean(1, keepdim=True), "mean"),
        (lambda _, x: x.transpose(2, 3).relu(), "otherwise than channel by channel"),
        (nn.LocalResponseNorm(2), "LocalResponseNorm"),
    ],
)
def test_what_mixes_channels_stays_side_by_side_and_says_why(
    tried: Callable[..., Tensor], reason: str
) -> None:
    source = Frozen().eval()
    deltas = deltas_of(tried)

    arranged = arrange(deltas, "fused", (IMAGES, source(IMAGES)))

    assert [head.tasks for head in arranged.heads] == [("a",), ("b",), ("c",)]
    assert reason in arranged.unfused["a", "b", "c"]


@pytest.mark.parametrize(
    ("tried", "reason"),
    [
        (lambda _, x: functional.dropout(x, 0.5, training=True), "dropout.* otherwise each time"),
        (lambda _, x: x.flatten(0, 1).view(x.shape), "the batch"),
        (lambda _, x: x[:3], "the batch"),
    ],
)
def test_what_answers_no_single_picture_is_refused(
    tried: Callable[..., Tensor], reason: str
) -> None:
    source = Frozen().eval()
    heads = arrange(deltas_of(tried), "separate", (IMAGES, source(IMAGES))).heads

    with pytest.raises(ExportError, match=reason):
        onnx_answers(SharedNetwork(source, heads, ("a", "b", "c")), MORE)
