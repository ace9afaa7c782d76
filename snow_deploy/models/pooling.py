"""Channel pooling: the learned choice of K among N source channels (SNOW, Algorithm 1)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from snow_deploy.errors import TrainingError
from snow_deploy.models.narrow_layers import NarrowBatchNorm2d, normalize
from snow_deploy.models.top_k import (
    arranged_top_channels,
    top_channels,
    top_channels_descending,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PoolingNorm = Literal["before", "after", "none"]
"""Where a BatchNorm stands: on the chosen maps before they are weighted, after it, or nowhere."""
PoolingWeights = Literal["noisy", "clean"]
"""What training multiplies a chosen map by: ``w + n``, as section 2.2 has it, or ``w`` alone, as
Algorithm 1 does (``w[idx]``). Both choose by ``w + n``."""
PoolingOrder = Literal["places", "descending"]
"""How the chosen maps come out: each at its place (ADR 9), or by falling score, as
``torch.topk`` gives them to Algorithm 1."""

_MANY: Final = 64
"""Channels from which a CPU picks them in two steps."""


class Draw(NamedTuple):
    """What a pooling does in one pass.

    Attributes:
        picks: [K] int64 each: the channel that comes out at each place; or first the channels,
            then which of those comes out at each place.
        weights: [K], what each is multiplied by; a norm that stands before has its gain in them.
        shift: [K], that norm's shift times the weights; zero without one.
    """

    picks: tuple[Tensor, ...]
    weights: Tensor
    shift: Tensor

    def pick(self, pixels: Tensor, out: Tensor | None = None) -> Tensor:
        """Take K channels of [B, H, W, N], reading and writing them pixel by pixel.

        `index_select` returns plain memory order whatever it reads: on a CPU it took 4 to 20 times
        as long at ResNet-50's shapes (measured, 32 pictures at 128 px), and the concatenation
        copied again. Of many channels the first pick is then in ascending order, the second of what
        is in the cache: together they took half of the time where features come from memory.

        Args:
            pixels: The source's features.
            out: Where to put what is picked, [B, H, W, K]; None for a new tensor.
        """
        *before, last = self.picks
        for pick in before:
            pixels = torch.gather(pixels, 3, pick.expand(*pixels.shape[:3], -1))
        return torch.gather(pixels, 3, last.expand(*pixels.shape[:3], -1), out=out)


class ChannelPooling(nn.Module):
    """One subscription: N source channels in, K out.

    Training draws fresh noise for every call, takes the top K of ``w + n``, n ~ N(0, sigma2),
    and multiplies the chosen maps by those noisy weights, so that only chosen weights get a
    gradient (SNOW, section 2.2; without the noise, as its Algorithm 1 has it, if asked for).
    Evaluation takes the top K of ``w`` and has no randomness. A BatchNorm may be added, and a
    ReLU may follow (Algorithm 1 has both, as an option).

    A BatchNorm right behind the weights takes every scale out again, theirs too: they get no
    gradient and the choice stays what it began as. Before the weights it leaves them in force.

    A chosen channel comes out at the place at which it came out last, where that is free; what
    reads this layer can so learn what comes at which place (ADR 9). Algorithm 1's own order is
    that of the scores, from the largest on (ADR 16).

    Shapes: [B, N, H, W] -> [B, K, H, W].

    Attributes:
        exploration: Factor on the noise's deviation, for training loops that let it fade.
        generator: Generator of the noise; None for torch's own. On the CPU: what it draws is the
            same beside any device.
        places: [N] int64, where of K each channel came out last in training.
    """

    places: Tensor

    def __init__(
        self,
        channels: int,
        k: int,
        *,
        sigma2: float = 1e-3,
        norm: PoolingNorm = "none",
        relu: bool = False,
        weights: PoolingWeights = "noisy",
        order: PoolingOrder = "places",
    ) -> None:
        """Start every channel with the same weight, one.

        Args:
            channels: N, the source tensor's channels.
            k: K, the channels to keep.
            sigma2: Variance (not deviation) of the exploration noise.
            norm: Where a BatchNorm of K channels stands.
            relu: Follow with ReLU.
            weights: What the chosen maps are multiplied by in training.
            order: In which order they come out.

        Raises:
            TrainingError: `k` is not between 1 and `channels`, `sigma2` is negative, or there
                is no such place for a norm, no such weights or no such order.
        """
        super().__init__()
        if not 1 <= k <= channels:
            msg = f"channel pooling cannot keep {k} of {channels} channels; choose 1 to {channels}"
            raise TrainingError(msg)
        if not sigma2 >= 0:
            msg = f"sigma2 is a variance and cannot be {sigma2}; give 0 or more (paper: 0.001)"
            raise TrainingError(msg)
        _check_name("norm", norm, PoolingNorm)
        _check_name("weights", weights, PoolingWeights)
        _check_name("order", order, PoolingOrder)
        self.channels = channels
        self.k = k
        self.sigma2 = sigma2
        self.exploration = 1.0
        self.generator: torch.Generator | None = None
        self.weight = nn.Parameter(torch.ones(channels))
        self.register_buffer("places", torch.arange(channels) % k)
        self.norm = None if norm == "none" else NarrowBatchNorm2d(k)
        self.norm_first = norm == "before"
        self.weights = weights
        self.descends = order == "descending"
        self.relu = nn.ReLU() if relu else None
        self._drawn: Draw | None = None

    @torch.no_grad()
    def selection(self) -> tuple[int, ...]:
        """Return the K channels that evaluation reads, ascending."""
        return tuple(top_channels(self.weight, self.k).tolist())

    @torch.no_grad()
    def order(self) -> tuple[int, ...]:
        """Return the K channels that evaluation reads, in the order in which they come out."""
        weights = self.weight[None]
        if self.descends:
            (order,) = top_channels_descending(weights, self.k)
        else:
            (order,) = arranged_top_channels(weights, weights, self.places[None], self.k)
        return tuple(order.tolist())

    def forward(self, features: Tensor) -> Tensor:
        """Pool [B, N, H, W] to [B, K, H, W]."""
        drawn = self.draw()
        pooled = drawn.pick(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if self.norm is not None and self.norm_first:  # in one pass: the weights are in its affine
            relu = self.relu is not None
            return normalize(self.norm, pooled, drawn.weights, drawn.shift, relu=relu)
        pooled = pooled * drawn.weights.view(1, -1, 1, 1)
        if self.norm is not None:
            pooled = self.norm(pooled)
        if self.relu is not None:
            pooled = self.relu(pooled)
        return pooled

    def draw(self) -> Draw:
        """Choose channels for a pass; what was drawn together with others' for this one counts."""
        return self._drawn or next(_draw([self]))

    @property
    def norms_first(self) -> bool:
        """Whether a norm stands before the weights, so that both make one affine."""
        return self.norm is not None and self.norm_first

    @property
    def _deviation(self) -> float:
        """The noise's in this pass."""
        return self.sigma2**0.5 * self.exploration if self.training else 0.0

    @property
    def _likeness(self) -> tuple[object, ...]:
        """What poolings must have in common to draw together."""
        weight = self.weight
        norm_first = self.norm is not None and self.norm_first
        whose = id(self.generator)
        kind = self.channels, self.k, self.training, self._deviation, norm_first, weight.device
        return *kind, self.weights, self.descends, whose

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        """Load; what was trained before there were places gave its channels out ascending."""
        weight, key = state_dict.get(f"{prefix}weight"), f"{prefix}places"
        if key not in state_dict and weight is not None and weight.shape == self.weight.shape:
            places = torch.arange(self.channels) % self.k
            places[top_channels(weight, self.k).cpu()] = torch.arange(self.k)
            state_dict[key] = places
        super()._load_from_state_dict(state_dict, prefix, *others, **named)

    def extra_repr(self) -> str:
        """Describe the pooling in `print(module)`."""
        return f"{self.channels} -> {self.k}, sigma2={self.sigma2}"


@contextmanager
def drawn_together(poolings: Iterable[ChannelPooling]) -> Iterator[None]:
    """Let poolings draw their noise and choose their channels together for the pass inside.

    The choice is some thirty operations on a few numbers. A ResNet-50's delta has 48 poolings, of
    six shapes: one by one, choosing took longer than what there is to compute in it. A pooling that
    is called twice inside gives the same channels twice.
    """
    groups: dict[tuple[object, ...], list[ChannelPooling]] = {}
    for pooling in poolings:
        groups.setdefault(pooling._likeness, []).append(pooling)  # noqa: SLF001
    try:
        for group in groups.values():
            for pooling, drawn in zip(group, _draw(group), strict=True):
                pooling._drawn = drawn  # noqa: SLF001
        yield
    finally:
        for group in groups.values():
            for pooling in group:
                pooling._drawn = None  # noqa: SLF001


def _draw(poolings: Sequence[ChannelPooling]) -> Iterator[Draw]:
    """Choose for one pass of poolings that are alike."""
    first = poolings[0]
    weight = scores = torch.stack([pooling.weight for pooling in poolings])
    deviation = first._deviation  # noqa: SLF001
    if deviation > 0:
        scores = weight + _noise(weight, first.generator) * deviation
    if first.descends:
        chosen = top_channels_descending(scores, first.k)
    else:
        chosen = _arranged(poolings, scores, weight)
    weights = (scores if first.weights == "noisy" else weight).gather(1, chosen)
    norms = [pooling.norm for pooling in poolings if pooling.norm is not None and first.norm_first]
    shifts = torch.zeros_like(weights)
    if norms:
        shifts = torch.stack([norm.bias for norm in norms]) * weights
        weights = torch.stack([norm.weight for norm in norms]) * weights
    picks = [chosen]
    if first.k >= _MANY and chosen.device.type == "cpu":
        ascending, order = torch.sort(chosen)
        picks = [ascending, torch.argsort(order)]
    yield from map(Draw, zip(*picks, strict=True), weights, shifts)


def _arranged(poolings: Sequence[ChannelPooling], scores: Tensor, weight: Tensor) -> Tensor:
    """Give every chosen channel its place, [G, K], and note the new places in training."""
    first = poolings[0]
    places = torch.stack([pooling.places for pooling in poolings])
    chosen = arranged_top_channels(scores, weight, places, first.k)
    if first.training:
        ranks = torch.arange(first.k, device=chosen.device).expand_as(chosen)
        for pooling, moved in zip(poolings, places.scatter(1, chosen, ranks), strict=True):
            pooling.places.copy_(moved)
    return chosen


def _check_name(what: str, name: str, names: object) -> None:
    """Refuse a name that is none of a literal type's."""
    known = get_args(names)
    if name not in known:
        msg = f"a pooling's {what} is one of {', '.join(known)}, not {name!r}; choose one of them"
        raise TrainingError(msg)


def _noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw from N(0, 1)."""
    if generator is None:
        return torch.randn_like(like)
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)
