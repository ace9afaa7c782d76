from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, fx, nn

from snow_export.trace.join_means import LARGEST, join_means
from snow_export.trace.spelling import respell

if TYPE_CHECKING:
    from collections.abc import Callable

Pooling = "Callable[[Tensor], Tensor]"


class Pools(nn.Module):
    """Four maps of two sizes, each pooled in one way, and read together."""

    def __init__(self, pool: Callable[[Tensor], Tensor], wide: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, wide, 3, padding=1)
        self.second = nn.Conv2d(wide, 4, 3, padding=1)
        self.third = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.fourth = nn.Conv2d(6, 2, 3, padding=1)
        self.pool = pool

    def maps(self, images: Tensor) -> list[Tensor]:
        first = self.first(images)
        second = self.second(first)
        third = self.third(second)
        return [first, second, third, self.fourth(third)]

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.pool(each) for each in self.maps(images)], 1)


class ReadTwice(Pools):
    """The first map's mean is read by another, too."""

    def forward(self, images: Tensor) -> Tensor:
        means = [self.pool(each) for each in self.maps(images)]
        return torch.cat(means, 1) + means[0].sum(1, keepdim=True)


class Alike(Pools):
    """Two concatenations of the same means."""

    def forward(self, images: Tensor) -> Tensor:
        means = [self.pool(each) for each in self.maps(images)]
        return torch.cat(means, 1) * torch.cat(means, 1)


def axes_mean(value: Tensor) -> Tensor:
    return value.mean((2, 3))


def last_axes_mean(value: Tensor) -> Tensor:
    return torch.mean(value, [-1, -2])


def adaptive_mean(value: Tensor) -> Tensor:
    return torch.flatten(nn.functional.adaptive_avg_pool2d(value, 1), 1)


def kept_mean(value: Tensor) -> Tensor:
    return value.mean((2, 3), keepdim=True).flatten(1)


def column_mean(value: Tensor) -> Tensor:
    return value.mean((1, 3))


def quarters(value: Tensor) -> Tensor:
    return torch.flatten(nn.functional.adaptive_avg_pool2d(value, 2), 1)


def joined(network: Pools) -> tuple[fx.GraphModule, int]:
    """Join a network's means, check that it answers as before, and count its poolings."""
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        expected = network(images)
    flat = fx.symbolic_trace(network)
    respell(flat)

    join_means(flat, images)

    with torch.no_grad():
        torch.testing.assert_close(flat(images), expected)
    pools = {torch.mean, nn.functional.adaptive_avg_pool2d}
    return flat, sum(node.target in pools for node in flat.graph.nodes)


@pytest.mark.parametrize("pool", [axes_mean, last_axes_mean, adaptive_mean, kept_mean])
def test_maps_of_one_size_are_pooled_together(pool: Callable[[Tensor], Tensor]) -> None:
    assert joined(Pools(pool))[1] == 2


@pytest.mark.parametrize("pool", [column_mean, quarters])
def test_other_poolings_are_left_alone(pool: Callable[[Tensor], Tensor]) -> None:
    assert joined(Pools(pool))[1] == 4


def test_a_mean_that_others_read_stays_by_itself() -> None:
    assert joined(ReadTwice(axes_mean))[1] == 3  # and so its neighbour, which is left alone


def test_equal_concatenations_become_one() -> None:
    flat, pools = joined(Alike(axes_mean))

    assert pools == 2
    means = [node for node in flat.graph.nodes if node.target is torch.cat and len(node.users) == 1]
    assert len(means) == 3  # two of maps, one of means


def test_maps_that_are_large_beside_the_picture_are_not_copied() -> None:
    assert joined(Pools(axes_mean, wide=3 * LARGEST))[1] == 2
    assert joined(Pools(axes_mean, wide=3 * LARGEST + 1))[1] == 3
