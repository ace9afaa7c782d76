"""Lean convolutions against the same layers by autograd alone, and against finite differences."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from snow_deploy.models.activations import activation_of
from snow_deploy.models.anatomy import trace
from snow_deploy.models.batch_statistics import RunningStatistics
from snow_deploy.models.lean_convolution import LeanConvolutions
from snow_deploy.models.lean_gradients import LeanLayers
from snow_deploy.models.pooling import ChannelPooling

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "none": None,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "silu": functional.silu,
    "hardswish": functional.hardswish,
}
LAYERS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU, "hardswish": nn.Hardswish}
SMALL = (3, 5, 4)
LARGE = (8, 66, 64)  # from 2**20 values on, and for few channels, norms are computed in rows


def randomize(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
        parameter.data.mul_(torch.randn_like(parameter).sign())


class Case:
    """Layers, what arrives at them, and what autograd makes of them."""

    def __init__(
        self,
        *,
        activation: str = "relu",
        normed: bool = True,
        pooled: str = "relu",
        channels: tuple[int, int] = (4, 3),
        pixels: tuple[int, int, int] = SMALL,
        eps: float = 1e-5,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        torch.manual_seed(3)
        local, picked = channels
        batch, height, width = pixels
        self.norm = nn.BatchNorm2d(local, eps=eps) if normed else None
        self.pooling: ChannelPooling | None = None
        if pooled in {"relu", "plain"}:
            relu = pooled == "relu"
            self.pooling = ChannelPooling(4 * picked, picked, sigma2=0, norm="before", relu=relu)
        self.beside = pooled != "absent"
        reads = local + picked * self.beside
        self.convolutions = (
            nn.Conv2d(reads, 5, 3, 2, 1),
            nn.Conv2d(reads, 2, 1, bias=False),
        )
        self.layers = nn.ModuleList(
            [*self.convolutions, *(each for each in (self.norm, self.pooling) if each is not None)]
        )
        randomize(self.layers)
        self.layers.to(dtype).train()
        maps = torch.randn(batch, local, height, width, dtype=dtype) * 2 + 1
        self.local = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
        wide = 4 * picked if self.pooling is not None else picked
        features = torch.randn(batch, wide, height, width, dtype=dtype) + 0.5
        self.features = features.contiguous(memory_format=torch.channels_last)
        self.function = ACTIVATIONS[activation] if normed else None
        traced = trace(nn.Sequential(LAYERS[activation]())) if self.function else None
        found = None
        if traced is not None:
            found = activation_of(traced, list(traced.graph.nodes)[1])
        self.statistics = RunningStatistics()
        self.lean = LeanConvolutions(
            LeanLayers(self.convolutions, self.norm, found, self.pooling, self.statistics)
        )

    def plain(self) -> tuple[Tensor, ...]:
        """Compute by the paper's steps, with nothing of the code under test."""
        values = self.local
        if self.norm is not None:
            norm = self.norm
            values = functional.batch_norm(
                values, None, None, norm.weight, norm.bias, training=True, eps=norm.eps
            )
        if self.function is not None:
            values = self.function(values)
        if self.beside:
            values = torch.cat([values, self.subscribed()], 1)
        return tuple(layer(values) for layer in self.convolutions)

    def subscribed(self) -> Tensor:
        pooling = self.pooling
        if pooling is None:
            return self.features
        assert pooling.norm is not None
        order = list(pooling.order())
        picks = functional.batch_norm(
            self.features[:, order], None, None, pooling.norm.weight, pooling.norm.bias, True
        )
        weighted = picks * pooling.weight[order].view(1, -1, 1, 1)
        return weighted.relu() if pooling.relu is not None else weighted

    def answers(self) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...]
        found = self.lean(self.local, self.features) if self.beside else self.lean(self.local)
        return found

    def trained(self) -> dict[str, Tensor]:
        return {"local": self.local, **dict(self.layers.named_parameters())}

    def gradients(self, compute: Callable[[], tuple[Tensor, ...]]) -> dict[str, Tensor]:
        torch.manual_seed(4)
        answers = compute()
        above = [torch.randn(answer.shape, dtype=torch.float64).to(answer) for answer in answers]
        trained = self.trained()
        found = torch.autograd.grad(answers, list(trained.values()), above)
        return dict(zip(trained, found, strict=True))


CASES = [
    {"activation": activation, "pooled": pooled}
    for activation, pooled in itertools.product(ACTIVATIONS, ["relu", "plain", "given", "absent"])
]
OTHERS = [
    {"normed": False},
    {"normed": False, "pooled": "plain"},
    {"eps": 1e-3},
    {"activation": "none", "pooled": "plain", "eps": 1e-3},
    {"pixels": LARGE, "channels": (4, 3)},
    {"pixels": LARGE, "channels": (16, 20)},
    {"pixels": LARGE, "channels": (40, 33), "normed": False},
    {"pixels": LARGE, "channels": (5, 40), "activation": "silu"},
]


def name(case: dict[str, object]) -> str:
    return "-".join(f"{key}={value}" for key, value in case.items())


@pytest.mark.parametrize("case", [*CASES, *OTHERS], ids=name)
def test_answers_and_gradients_are_those_of_the_plain_formula(case: dict[str, object]) -> None:
    made = Case(**case)  # type: ignore[arg-type]

    torch.testing.assert_close(made.answers(), made.plain(), rtol=1e-9, atol=1e-9)
    ours, theirs = made.gradients(made.answers), made.gradients(made.plain)

    assert ours.keys() == theirs.keys()
    for key, gradient in theirs.items():
        scale = gradient.abs().max()
        torch.testing.assert_close(ours[key] / scale, gradient / scale, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "case",
    [
        CASES[4],
        OTHERS[0],
        *(pytest.param(each, marks=pytest.mark.slow) for each in (CASES[5], CASES[12], OTHERS[2])),
    ],
    ids=name,
)
def test_gradients_are_finite_differences(case: dict[str, object]) -> None:
    made = Case(**case)  # type: ignore[arg-type]

    torch.autograd.gradcheck(lambda *_: made.answers(), list(made.trained().values()))


@pytest.mark.parametrize("channels", [(8, 8), (32, 32)])
@pytest.mark.parametrize("normed", [True, False])
def test_float32_rounds_like_the_plain_formula(channels: tuple[int, int], normed: bool) -> None:
    exact = Case(channels=channels, pixels=LARGE, normed=normed)
    made = Case(channels=channels, pixels=LARGE, normed=normed, dtype=torch.float32)
    made.layers.load_state_dict(exact.layers.state_dict())
    made.local.data.copy_(exact.local.data)
    made.features.copy_(exact.features)

    ours, theirs = made.gradients(made.answers), made.gradients(made.plain)
    torch.manual_seed(4)
    truth = exact.gradients(exact.plain)

    for key, gradient in truth.items():
        error = [(each[key] - gradient).norm() / gradient.norm() for each in (ours, theirs)]
        assert error[0] < 3 * error[1] + 1e-5, key


def test_bf16_gives_what_autocast_gives() -> None:
    made = Case(channels=(8, 8), dtype=torch.float32)

    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = made.answers(), made.plain()
    assert {answer.dtype for answer in ours} == {torch.bfloat16}
    torch.testing.assert_close(ours, theirs)

    def under_autocast(compute: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            return compute()

    gradients = made.gradients(lambda: under_autocast(made.answers))
    for key, gradient in made.gradients(lambda: under_autocast(made.plain)).items():
        assert gradients[key].dtype == torch.float32
        assert (gradients[key] - gradient).norm() < 0.03 * gradient.norm(), key


def kept_bytes(compute: Callable[[], tuple[Tensor, ...]]) -> int:
    """Count the memory that a pass keeps for its backward pass, but for the layers' weights."""
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            alive.append(tensor)
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive += compute()
    return sum(kept.values())


@pytest.mark.parametrize(
    ("case", "tensors"),
    [
        ({}, 2),  # what arrived and what was picked
        ({"normed": False}, 2),
        ({"activation": "silu"}, 2),
        ({"pooled": "absent", "activation": "hardswish"}, 1),
        ({"pooled": "given"}, 2),
    ],
)
def test_no_more_is_kept_than_what_arrived(case: dict[str, object], tensors: int) -> None:
    made = Case(channels=(8, 8), pixels=(4, 16, 16), dtype=torch.float32, **case)  # type: ignore[arg-type]
    one = made.local.numel() * 4

    kept = kept_bytes(made.answers)

    assert tensors * one <= kept < 1.05 * tensors * one  # the rest is a few numbers a channel
    assert kept < 0.6 * kept_bytes(made.plain)


def test_statistics_are_entered_as_torch_enters_them() -> None:
    made = Case(channels=(6, 5), pixels=(3, 9, 7))
    assert made.norm is not None
    assert made.pooling is not None
    assert made.pooling.norm is not None
    twins = nn.BatchNorm2d(6).double(), nn.BatchNorm2d(5).double()
    twins[0](made.local)
    twins[1](made.features[:, list(made.pooling.order())])
    made.norm.momentum = twins[0].momentum = 0.3
    twins[0](made.local)
    made.norm.momentum = 0.1

    made.answers()
    assert not bool(made.norm.running_mean.any())  # type: ignore[union-attr]
    made.statistics.enter()
    made.norm.momentum = 0.3
    made.answers()
    made.statistics.forget()
    made.pooling.eval()  # its norm has the statistics it has
    made.answers()
    made.statistics.enter()

    for norm, twin in zip((made.norm, made.pooling.norm), twins, strict=True):
        torch.testing.assert_close(norm.running_mean, twin.running_mean)
        torch.testing.assert_close(norm.running_var, twin.running_var)
        assert norm.num_batches_tracked == twin.num_batches_tracked


def test_one_value_a_channel_is_refused_as_torch_does() -> None:
    made = Case(pixels=(1, 1, 1))

    with pytest.raises(ValueError, match="more than 1 value per channel"):
        made.answers()


def test_frozen_weights_get_no_gradient() -> None:
    made = Case()
    made.convolutions[0].weight.requires_grad_(False)
    made.local.requires_grad_(False)

    sum(answer.sum() for answer in made.answers()).backward()  # type: ignore[union-attr]

    assert made.convolutions[0].weight.grad is None
    assert made.local.grad is None
    assert all(p.grad is not None for p in made.layers.parameters() if p.requires_grad)
