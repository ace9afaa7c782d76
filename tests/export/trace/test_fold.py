from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, fx, nn

from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_export.trace.delta_graph import trace_delta
from snow_export.trace.fold import fold_norms, fold_poolings
from snow_export.trace.freeze import StaticPooling, freeze
from tests.export.requests import random_delta

if TYPE_CHECKING:
    from tests.conftest import RandomWeights


class Folds(nn.Module):
    """Norms behind a convolution alone: with a bias, without one, depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, groups=6, bias=False),
            nn.BatchNorm2d(6, affine=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class Stays(nn.Module):
    """Norms that no convolution can absorb: behind a sum, a tensor read twice, a second call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.twice, self.after = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
        self.summed = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = self.norm(x) + x
        x = self.after(self.twice(self.twice(x)))
        result: Tensor = self.summed(x + 1)
        return result


@pytest.mark.parametrize(("network", "left"), [(Folds(), 0), (Stays(), 3)])
def test_folding_changes_no_answer(network: nn.Module, left: int) -> None:
    torch.manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.1, 4)
            if norm.affine:
                nn.init.uniform_(norm.weight, -2, 2)
                nn.init.uniform_(norm.bias, -2, 2)
    images = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        expected = network.eval()(images)

    folded = fold_norms(fx.symbolic_trace(network))

    with torch.no_grad():
        torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4)
    called = [str(node.target) for node in folded.graph.nodes if node.op == "call_module"]
    norms = [n for n in called if isinstance(folded.get_submodule(n), nn.BatchNorm2d)]
    assert len(norms) == left


@pytest.mark.parametrize(
    ("architecture", "options", "folds"),
    [
        ("resnet18", DeltaOptions(pooling_norm="none", pooling_relu=False), True),
        ("resnet18", DeltaOptions(pooling_norm="none", pooling_relu=True), False),
        ("resnet18", DeltaOptions(pooling_norm="before", pooling_relu=False), False),
        ("densenet121", DeltaOptions(pooling_norm="none", pooling_relu=False), True),
    ],
)
def test_a_bare_pooling_folds_into_the_convolutions_that_read_it(
    architecture: str, options: DeltaOptions, folds: bool, random_weights: RandomWeights
) -> None:
    source = Source(random_weights(architecture))
    delta = random_delta(source, 5, 0, options)
    images = torch.randn(2, 3, 64, 64)
    features = source(images)
    with torch.no_grad():
        expected = delta(images, features)

    traced = fold_poolings(trace_delta(freeze(delta)))

    poolings = [layer for layer in traced.modules() if isinstance(layer, StaticPooling)]
    assert poolings
    assert {pooling.scale is None for pooling in poolings} == {folds}
    with torch.no_grad():
        torch.testing.assert_close(traced(images, features), expected, rtol=1e-4, atol=1e-5)
