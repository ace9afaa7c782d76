"""All readouts of a graph as one head: one gather and one matrix product for every task.

Those that are a part of a delta's classifier are among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@runtime_checkable
class LinearReadout(Protocol):
    """What the exporter needs to know of a readout: a linear classifier on pooled features."""

    @property
    def feature_widths(self) -> Mapping[str, int]:
        """Width of each of the source's pooled features by its key, in the order of the taps."""

    @property
    def index(self) -> Tensor:
        """[K] int64, ascending: which of all features it reads."""

    @property
    def classifier(self) -> nn.Linear:
        """From those K to the task's logits."""


@runtime_checkable
class WithReadout(Protocol):
    """A network whose answers are the sum of its own and, where there is one, of a readout."""

    @property
    def network(self) -> nn.Module:
        """From images and the source's features to logits, without the readout."""

    @property
    def tap_readout(self) -> LinearReadout | None:
        """The readout."""


def split_readouts(
    networks: Mapping[str, nn.Module],
) -> tuple[dict[str, LinearReadout], dict[str, nn.Module]]:
    """Return the readouts by task, and what answers beside them or alone.

    A task that is only a readout is in the first, one with a readout as a part of it in both.
    """
    readouts, others = dict[str, LinearReadout](), dict[str, nn.Module]()
    for task, network in networks.items():
        if isinstance(network, LinearReadout):
            readouts[task] = network
        elif isinstance(network, WithReadout) and network.tap_readout is not None:
            readouts[task], others[task] = network.tap_readout, network.network
        else:
            others[task] = network
    return readouts, others


class ReadoutHead(nn.Module):
    """Several readouts at once: images and features in, a tuple of logits out.

    Taps that none of them reads are not looked up, so that nothing of them is left in the graph;
    unless they are given out anyway, for then all read one concatenation.
    """

    index: Tensor | None

    def __init__(
        self,
        readouts: Mapping[str, LinearReadout],
        given_out: Collection[str] = (),
        product: str = "fc",
    ) -> None:
        """Join readouts, in eval mode and left as they are.

        Args:
            readouts: The readouts by task name, all on the same taps.
            given_out: Keys of the pooled features that the graph gives out anyway.
            product: Name of the layer that answers all of them.
        """
        super().__init__()
        self.product = product
        self.tasks = tuple(readouts)
        widths = next(iter(readouts.values())).feature_widths
        owner = torch.repeat_interleave(torch.tensor(list(widths.values())))
        union = torch.cat([readout.index.cpu() for readout in readouts.values()])
        union = torch.from_numpy(np.unique(union.numpy()))
        read = set(owner[union].tolist())
        read |= {place for place, key in enumerate(widths) if key in given_out}
        self.keys = tuple(key for place, key in enumerate(widths) if place in read)
        local = torch.isin(owner, torch.tensor(sorted(read))).cumsum(0) - 1
        everything = sum(widths[key] for key in self.keys)
        whole = len(union) == everything
        self.register_buffer("index", None if whole else local[union])
        linears = [readout.classifier for readout in readouts.values()]
        self.sizes = [linear.out_features for linear in linears]
        self.add_module(product, _joined(readouts, union).to(linears[0].weight.device))

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Answer every task: [B, classes] each."""
        read = [features[key] for key in self.keys]
        pooled = read[0] if len(read) == 1 else torch.cat(read, 1)
        if self.index is not None:
            pooled = pooled.index_select(1, self.index)
        logits = self.get_submodule(self.product)(pooled)
        if len(self.sizes) == 1:
            return (logits,)
        parts = torch.split(logits, self.sizes, 1)
        return tuple(parts[task] for task in range(len(self.sizes)))


@torch.no_grad()
def _joined(readouts: Mapping[str, LinearReadout], union: Tensor) -> nn.Linear:
    """Lay the classifiers one below the other; what a task does not read weighs nothing."""
    classes = [readout.classifier.out_features for readout in readouts.values()]
    joined = nn.Linear(len(union), sum(classes))
    joined.weight.zero_()
    start = 0
    for readout, count in zip(readouts.values(), classes, strict=True):
        columns, rows = torch.searchsorted(union, readout.index.cpu()), slice(start, start + count)
        joined.weight[rows][:, columns] = readout.classifier.weight.cpu()
        joined.bias[rows] = readout.classifier.bias.cpu()
        start += count
    return joined
