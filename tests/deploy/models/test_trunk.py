from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.models.source import Source
from snow_deploy.models.trunk import bare_norms, build_trunk, unfold_norms

if TYPE_CHECKING:
    from snow_deploy.models.weights import SourceWeights


@pytest.fixture
def images() -> Tensor:
    return torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def folded(weights: SourceWeights) -> Source:
    """Give a ResNet-18 whose norms only shift, as a file of folded weights has them."""
    state = dict(weights.state)
    for key in weights.state:
        name, _, leaf = key.rpartition(".")
        if leaf == "running_var":
            for other, value in {"running_mean": 0.0, leaf: 1 - 1e-5, "weight": 1.0}.items():
                state[f"{name}.{other}"] = torch.full_like(state[f"{name}.{other}"], value)
    return Source(replace(weights, state=state))


def test_it_is_the_source_up_to_its_classifier(source: Source, images: Tensor) -> None:
    trunk = build_trunk(source)

    assert trunk.training
    assert all(parameter.requires_grad for parameter in trunk.parameters())
    with torch.no_grad():
        pooled = trunk.eval()(images)
    torch.testing.assert_close(pooled, source(images)["head"], rtol=1e-4, atol=1e-4)


def test_anew_it_is_the_same_network_with_other_weights(source: Source) -> None:
    trunk, other = build_trunk(source), build_trunk(source, anew=True)

    assert {k: v.shape for k, v in other.state_dict().items()} == {
        k: v.shape for k, v in trunk.state_dict().items()
    }
    assert not torch.equal(other.get_parameter("conv1.weight"), trunk.get_parameter("conv1.weight"))


def test_a_folded_networks_norms_come_back(folded: Source, images: Tensor) -> None:
    """The same answers in eval mode, and now in training mode on these pictures too."""
    trunk = build_trunk(folded)
    expected = folded(images)["head"]
    assert len(bare_norms(trunk)) == 20
    with torch.no_grad():
        assert not torch.allclose(trunk(images), expected, rtol=0.1)  # each norm rescales
    trunk = build_trunk(folded)

    unfold_norms(trunk, images)

    assert trunk.training
    assert bare_norms(trunk) == []
    tolerance = 1e-3 * float(expected.abs().max())
    with torch.no_grad():
        torch.testing.assert_close(trunk.eval()(images), expected, rtol=1e-3, atol=tolerance)
        torch.testing.assert_close(trunk.train()(images), expected, rtol=1e-3, atol=tolerance)
    loss = nn.functional.mse_loss(trunk(images), torch.zeros_like(expected))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trunk.parameters())


def test_norms_that_normalise_stay_as_they_are(source: Source, images: Tensor) -> None:
    trunk = build_trunk(source)
    before = {key: value.clone() for key, value in trunk.state_dict().items()}

    unfold_norms(trunk, images)

    assert bare_norms(trunk) == []
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())
