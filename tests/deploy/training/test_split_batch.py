"""A batch shared out over processes: what differs from one process is the norms' statistics.

That gradients are means over the processes, and that machines add nothing, `test_distributed` holds
on real ones.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

import snow_deploy as snow
from tests.deploy.own_loops.networks import SIZE, own_network


def gradient(delta: snow.Delta, source: snow.Source, parts: int, *, frozen: bool) -> Tensor:
    """Return the mean of the gradients of a batch's parts, each of a copy of the delta."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(16, 3, SIZE, SIZE, generator=generator)
    targets = torch.randint(0, 3, (16,), generator=generator)
    found = []
    for some, of_them in zip(images.chunk(parts), targets.chunk(parts), strict=True):
        own = copy.deepcopy(delta).train()
        own.explore(0.0)
        for layer in own.modules():
            if isinstance(layer, nn.BatchNorm2d) and frozen:
                layer.eval()
        functional.cross_entropy(own(some, source(some)), of_them).backward()  # type: ignore[no-untyped-call]
        found.append(
            torch.cat([each.grad.flatten() for each in own.parameters() if each.grad is not None])
        )
    return torch.stack(found).mean(0)


def test_without_the_norms_statistics_four_processes_are_as_one() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        source = snow.Source.of(own_network(), image_size=SIZE)
        delta = snow.Delta(source, 3, snow.DeltaOptions(k_divisor=4, width_divisor=4))

    def apart(*, frozen: bool) -> float:
        one, four = (gradient(delta, source, parts, frozen=frozen) for parts in (1, 4))
        return float((one - four).norm() / one.norm())

    assert apart(frozen=True) < 1e-5
    assert 1e-3 < apart(frozen=False) < 1
