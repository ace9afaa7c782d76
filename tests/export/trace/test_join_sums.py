"""Sums of split parts, against the network as it was."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import Tensor, fx, nn

from snow_export.trace.join_sums import join_sums

SIZES = [2, 3, 1]


class TwoHeads(nn.Module):
    """Adds up what two heads answer, in one of several ways."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, one: Tensor, two: Tensor) -> tuple[Tensor, ...]:
        first = torch.split(one * 2, SIZES, 1)
        second = torch.split(two * 3, [3, 2, 1] if self.form == "unlike" else SIZES, 1)
        if self.form == "crossed":
            return first[0] + second[0], first[1] + first[1], first[2] + second[2]
        if self.form == "unlike":
            return first[0] + second[1], first[1] + second[0], first[2] + second[2]
        if self.form == "read":
            return first[0] + second[0], first[1] + second[1], first[2] + second[2], first[0] * 2
        if self.form == "partly":
            return first[0] + second[0], first[1] + second[1], first[2]
        return tuple(second[place] + first[place] for place in range(3))


@pytest.mark.parametrize(
    ("form", "sums"), [("all", 1), ("crossed", 3), ("unlike", 3), ("read", 3), ("partly", 2)]
)
def test_what_is_split_alike_is_added_up_before(form: str, sums: int) -> None:
    network = fx.symbolic_trace(TwoHeads(form))
    inputs = torch.randn(2, 6), torch.randn(2, 6)
    expected = network(*inputs)

    join_sums(network)

    assert sum(node.target is operator.add for node in network.graph.nodes) == sums
    for seen, value in zip(network(*inputs), expected, strict=True):
        assert torch.equal(seen, value)
