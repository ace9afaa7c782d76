from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.plain.description import build_described, describe


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, (3, 1), stride=2, padding=(1, 0), dilation=1, bias=False)
        self.norm = nn.LayerNorm(4, eps=1e-3)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.act = nn.LeakyReLU(0.3)
        self.gain = nn.Parameter(torch.tensor([[0.5]]))

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.act(self.conv(x)))
        y = self.norm(y.permute(0, 2, 3, 1))[:, 1:, ..., ::2]
        y = torch.clamp(y, -float("inf"), 2.0).reshape(x.shape[0], -1)
        return torch.cat([y, y * self.gain], dim=1)


def described() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(describe(fx.symbolic_trace(Several()), "it"))
    return document


def test_what_is_built_from_a_description_computes_the_same() -> None:
    traced = fx.symbolic_trace(Several()).eval()
    built = build_described(describe(traced, "it"))
    built.load_state_dict(traced.state_dict())
    images = torch.randn(2, 3, 16, 12)

    torch.testing.assert_close(built(images), traced(images), rtol=0, atol=0)
    assert [node.name for node in built.graph.nodes] == [node.name for node in traced.graph.nodes]


@pytest.mark.parametrize(
    ("op", "target"),
    [
        ("call_function", "torch.load"),
        ("call_function", "torch.hub.load"),
        ("call_function", "os.system"),
        ("call_function", "builtins.eval"),
        ("call_function", "operator.attrgetter"),
        ("call_method", "__reduce__"),
        ("call_method", "no_such_method"),
        ("run", "torch.relu"),
    ],
)
def test_a_description_calls_nothing_but_operations_on_tensors(op: str, target: str) -> None:
    document = described()
    document["nodes"][1] |= {"op": op, "target": target}
    with pytest.raises(SourceError, match="cannot be read"):
        build_described(json.dumps(document))


@pytest.mark.parametrize("kind", ["os.PathLike", "torch.nn.init", "torch.nn.Parameter", "Conv9d"])
def test_a_description_makes_nothing_but_layers(kind: str) -> None:
    document = described()
    document["layers"]["conv"][0] = kind
    with pytest.raises(SourceError, match="cannot be read"):
        build_described(json.dumps(document))


def test_getattr_asks_for_shapes_alone() -> None:
    document = described()
    node = next(each for each in document["nodes"] if each["target"] == "builtins.getattr")
    node["args"]["tuple"][1] = "__class__"
    built = build_described(json.dumps(document))
    with pytest.raises(Exception, match="attribute"):
        built(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2, "nodes": []}'])
def test_a_damaged_description_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        build_described(text)


def test_a_layer_of_ones_own_cannot_be_described() -> None:
    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
            return isinstance(m, Own)

    network = nn.Sequential(Own())
    traced = fx.GraphModule(network, Tracer().trace(network))
    with pytest.raises(SourceError, match="it uses a Own, which cannot be written"):
        describe(traced, "it")
