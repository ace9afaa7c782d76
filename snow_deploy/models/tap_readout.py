"""The part of a delta's classifier that reads chosen features of all the source's taps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snow_deploy.models.fold_source import tap_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_deploy.models.source import Source
    from snow_deploy.models.taps import Tap


@dataclass(frozen=True)
class TapStart:
    """What the part begins as: a fitted readout.

    Attributes:
        index: [K] int64, ascending: which of all features are read, one tap's behind the other's.
        mean: [K] float32, each one's mean over the training pictures.
        deviation: [K] float32, likewise, above 0.
        weight: [C, K] float32, of the features as they are.
        bias: [C] float32.
    """

    index: Tensor
    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor


class TapReadout(nn.Module):
    """A linear classifier on K of the taps' means, which it standardises.

    Standardised, features of early and late blocks are of one size, so that one learning rate
    serves all of them. Which they are, and how many, its start says, or the state that is loaded.

    Attributes:
        index: [K] int64, ascending: which of all features, one tap's behind the other's, it reads.
        linear: Linear layer from the standardised features to the classes.
    """

    index: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, source: Source, num_classes: int, features: int | None = None) -> None:
        """Read the first features, with weights of zero.

        Args:
            source: The source; from now on it returns its taps' means.
            num_classes: C.
            features: K, until it starts or a state is loaded; None reads all.
        """
        super().__init__()
        source.pool_taps()
        self.taps = source.anatomy.taps
        self.num_classes = num_classes
        whole = sum(tap.channels for tap in self.taps)
        self._resize(whole if features is None else features)

    @property
    def feature_widths(self) -> dict[str, int]:
        """Width of each pooled feature by its key among the source's, in order."""
        return widths_by_key(self.taps)

    @property
    def classifier(self) -> nn.Linear:
        """Linear layer from the K features as they are, not standardised, to the classes."""
        weight = self.linear.weight.detach().double() / self.deviation
        bias = self.linear.bias.detach().double() - weight @ self.mean.double()
        folded = nn.Linear(len(self.index), self.num_classes, device="meta")
        dtype = self.linear.weight.dtype
        folded.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        folded.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
        return folded

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Answer from the source's features: [B, C] logits."""
        pooled = torch.cat([features[key] for key in self.feature_widths], 1)
        chosen = pooled.index_select(1, self.index).to(self.mean.dtype)
        logits: Tensor = self.linear((chosen - self.mean) / self.deviation)
        return logits

    @torch.no_grad()
    def start(self, begin: TapStart) -> None:
        """Begin as a fitted readout, on the device where it is."""
        self._resize(len(begin.index))
        self.index.copy_(begin.index)
        self.mean.copy_(begin.mean)
        self.deviation.copy_(begin.deviation)
        self.linear.weight.copy_(begin.weight * begin.deviation)
        self.linear.bias.copy_(begin.bias + begin.weight @ begin.mean)

    def selections(self) -> dict[str, tuple[int, ...]]:
        """Return the channels that are read, ascending, by the tap; no others are named."""
        return chosen_by_tap(self.taps, self.index)

    def _resize(self, features: int) -> None:
        """Make room for so many features; the weights are zero."""
        before = getattr(self, "linear", None)
        device = None if before is None else before.weight.device
        self.register_buffer("index", torch.arange(features, device=device))
        self.register_buffer("mean", torch.zeros(features, device=device))
        self.register_buffer("deviation", torch.ones(features, device=device))
        self.linear = nn.Linear(features, self.num_classes, device=device)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        """Load a state of however many features."""
        index = state_dict.get(f"{prefix}index")
        if index is not None and index.shape != self.index.shape:
            self._resize(len(index))  # torch loads a module before those in it
        super()._load_from_state_dict(state_dict, prefix, *others, **named)


def widths_by_key(taps: Sequence[Tap]) -> dict[str, int]:
    """Return the width of each pooled feature by its key among the source's, in order."""
    return {tap_key(tap): tap.channels for tap in taps}


def chosen_by_tap(taps: Sequence[Tap], index: Tensor) -> dict[str, tuple[int, ...]]:
    """Return which channels of each tap are chosen, ascending; taps without any are left out.

    Args:
        taps: All taps, in order.
        index: [K] int64, ascending: which of all features are chosen.
    """
    found, start = {}, 0
    for tap in taps:
        inside = index[(index >= start) & (index < start + tap.channels)]
        if len(inside):
            found[tap.name] = tuple((inside - start).tolist())
        start += tap.channels
    return found
