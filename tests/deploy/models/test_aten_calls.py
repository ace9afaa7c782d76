"""The calls of torch's that stand for ATen operators compute what those do."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from snow_deploy.errors import SourceError
from snow_deploy.models.plain.aten_calls import NotExportedError, is_first_of_several, torch_call
from snow_deploy.models.plain.description import build_described, describe

ATEN: Any = torch.ops.aten
_8 = torch.rand(8) + 0.5
CASES: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "view": (ATEN.view.default, ([2, 8, -1],), {}),
    "clone": (ATEN.clone.default, (), {"memory_format": torch.contiguous_format}),
    "slice": (ATEN.slice.Tensor, (2, 1, 2**63 - 1), {}),
    "slice with a step": (ATEN.slice.Tensor, (3, 0, -1, 2), {}),
    "slice from behind": (ATEN.slice.Tensor, (-2, 1, 4), {}),
    "slice of all": (ATEN.slice.Tensor, (0, 0, 2**63 - 1), {}),
    "select": (ATEN.select.int, (1, 3), {}),
    "index": (ATEN.index.Tensor, ([None, torch.tensor([3, 1])],), {}),
    "expand": (ATEN.expand.default, ([2, -1, 6, 6],), {}),
    "repeat": (ATEN.repeat.default, ([1, 2, 1, 1],), {}),
    "permute": (ATEN.permute.default, ([0, 2, 3, 1],), {}),
    "transpose": (ATEN.transpose.int, (1, -1), {}),
    "unsqueeze": (ATEN.unsqueeze.default, (1,), {}),
    "add": (ATEN.add.Tensor, (torch.ones(6),), {"alpha": 3}),
    "add a number": (ATEN.add.Scalar, (2,), {}),
    "1 - x": (ATEN.rsub.Scalar, (1,), {}),
    "1 - 2 x": (ATEN.rsub.Scalar, (1, 2), {}),
    "1 / x": (ATEN.reciprocal.default, (), {}),
    "power": (ATEN.pow.Tensor_Scalar, (2,), {}),
    "rounding": (ATEN.div.Tensor_mode, (torch.full((6,), 0.3),), {"rounding_mode": "floor"}),
    "mean": (ATEN.mean.dim, ([2, 3], True), {}),
    "sum": (ATEN.sum.dim_IntList, ([1],), {}),
    "norm": (ATEN.linalg_vector_norm.default, (2, [2, 3]), {}),
    "largest": (ATEN.amax.default, ([2, 3], False), {}),
    "variance": (ATEN.var.correction, ([2, 3],), {"correction": 0, "keepdim": True}),
    "softmax": (ATEN.softmax.int, (1,), {}),
    "log softmax": (ATEN.log_softmax.int, (1, torch.float32), {}),
    "log sigmoid": (ATEN.log_sigmoid.default, (), {}),
    "gelu": (ATEN.gelu.default, (), {"approximate": "tanh"}),
    "elu": (ATEN.elu.default, (0.5,), {}),
    "selu": (ATEN.selu.default, (), {}),
    "leaky": (ATEN.leaky_relu.default, (0.2,), {}),
    "hard": (ATEN.hardtanh.default, (-0.3, 0.4), {}),
    "hardswish": (ATEN.hardswish.default, (), {}),
    "softplus": (ATEN.softplus.default, (2.0, 0.5), {}),
    "glu": (ATEN.glu.default, (1,), {}),
    "clamp": (ATEN.clamp.default, (None, 0.5), {}),
    "max pool": (ATEN.max_pool2d.default, ([3, 3], [2, 2], [1, 1]), {}),
    "max pool, no stride": (ATEN.max_pool2d.default, ([2, 2],), {}),
    "average pool": (ATEN.avg_pool2d.default, ([3, 3], [], [1, 1], True, False), {}),
    "adaptive pool": (ATEN.adaptive_avg_pool2d.default, ([2, 3],), {}),
    "zeros around": (ATEN.constant_pad_nd.default, ([1, 2, 0, 1], 0.5), {}),
    "mirrored": (ATEN.reflection_pad2d.default, ([1, 2, 0, 1],), {}),
    "padded": (ATEN.pad.default, ([1, 0], "constant", 2.0), {}),
    "nearest": (ATEN.upsample_nearest2d.vec, ([9, 7], None), {}),
    "nearest by a factor": (ATEN.upsample_nearest2d.vec, (None, [2.0, 1.5]), {}),
    "bilinear": (ATEN.upsample_bilinear2d.vec, ([9, 7], True, None), {}),
    "bicubic": (ATEN.upsample_bicubic2d.vec, (None, False, [2.0, 2.0]), {}),
    "convolution": (
        ATEN.conv2d.default,
        (torch.rand(4, 4, 3, 3), None, [2, 2], [1, 1], [1, 1], 2),
        {},
    ),
    "padded by name": (ATEN.conv2d.padding, (torch.rand(4, 8, 3, 3), None, [1, 1], "same"), {}),
    "batch norm": (ATEN.batch_norm.default, (_8, _8, _8, _8, False, 0.1, 1e-3, False), {}),
    "layer norm": (ATEN.layer_norm.default, ([6], torch.rand(6), None, 1e-3, False), {}),
    "group norm": (ATEN.group_norm.default, (2, _8, _8, 1e-3, False), {}),
    "instance norm": (
        ATEN.instance_norm.default,
        (_8, _8, None, None, True, 0.1, 1e-3, False),
        {},
    ),
    "first of a norm": (
        ATEN._native_batch_norm_legit_no_training.default,
        (_8, None, _8, _8, 0.1, 1e-3),
        {},
    ),
    "first of a max pool": (ATEN.max_pool2d_with_indices.default, ([2, 2], [1, 1]), {}),
    "first of adaptive max": (ATEN.adaptive_max_pool2d.default, ([2, 3],), {}),
    "cast": (ATEN._to_copy.default, (), {"dtype": torch.float64}),
    "a part of it set": (ATEN.slice_scatter.default, (torch.ones(2, 3, 6, 6), 1, 2, 5), {}),
    "filled": (ATEN.masked_fill.Scalar, (torch.rand(6, 6) > 0.5, 2.0), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_computes_the_same_and_can_be_written_down(case: str) -> None:
    called, args, kwargs = CASES[case]
    images = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    graph, root = fx.Graph(), torch.nn.Module()
    value = graph.placeholder("x")

    def held(each: Any) -> Any:
        if not isinstance(each, Tensor):
            return [held(one) for one in each] if isinstance(each, list) else each
        name = f"held_{len(list(root.buffers()))}"
        root.register_buffer(name, each)
        return graph.get_attr(name)

    made = torch_call(called, (value, *map(held, args)), kwargs)
    if not isinstance(made, fx.Node):
        create = graph.call_method if isinstance(made[0], str) else graph.call_function
        made = create(*made)
    graph.output(made)
    traced = fx.GraphModule(root, graph)
    expected = called(images, *args, **kwargs)
    if is_first_of_several(called):
        expected = expected[0]

    found = traced(images)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected)
    built = build_described(describe(traced, case))
    built.load_state_dict(traced.state_dict())
    torch.testing.assert_close(built(images), expected)


def test_what_has_no_function_of_torchs_is_named() -> None:
    value = fx.Graph().placeholder("x")
    with pytest.raises(NotExportedError, match=r"computes aten\._fft_r2c\.default, for which"):
        torch_call(ATEN._fft_r2c.default, (value, [2], 0, True), {})


def test_a_description_calls_what_writes_in_place_by_its_name() -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(torch.relu_, (graph.placeholder("x"),)))
    text = describe(fx.GraphModule(torch.nn.Module(), graph), "it")
    assert [each["target"] for each in json.loads(text)["nodes"]][1] == "torch.relu_"
    assert build_described(text)(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]


def test_what_is_held_and_is_no_tensor_cannot_be_written_down() -> None:
    root, graph = torch.nn.Module(), fx.Graph()
    root.packed = object()  # type: ignore[assignment]
    graph.output(graph.get_attr("packed"))
    with pytest.raises(SourceError, match="uses a value of type object, which cannot be written"):
        describe(fx.GraphModule(root, graph), "it")
