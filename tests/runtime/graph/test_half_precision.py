from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from snow_runtime.errors import HalfError
from snow_runtime.graph.half_precision import to_fp16

if TYPE_CHECKING:
    from tests.conftest import MakeModel


def test_a_weight_beyond_the_largest_half_is_named(make_model: MakeModel) -> None:
    model = make_model()
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "w3")
    value = numpy_helper.to_array(weight).copy()
    value[0, 0] = 7e4
    weight.CopyFrom(numpy_helper.from_array(value, "w3"))

    with pytest.raises(HalfError, match=r"w3 reaches 7e\+04.*--precision fp32"):
        to_fp16(model)


def test_the_graph_that_was_converted_is_left_alone(make_model: MakeModel) -> None:
    model = make_model()
    before = model.SerializeToString(deterministic=True)

    to_fp16(model)

    assert model.SerializeToString(deterministic=True) == before


def test_a_mean_that_is_read_flat_is_taken_in_float() -> None:
    """Two hundred by two hundred pixels of 3: their sum is beyond the largest half."""
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"], name="mean"),
            helper.make_node("Flatten", ["mean"], ["flat"], name="flat"),
            helper.make_node("Gemm", ["flat", "w"], ["task"], name="fc"),
            helper.make_node("GlobalAveragePool", ["image"], ["gate"], name="gate"),
            helper.make_node("Mul", ["image", "gate"], ["gated"], name="product"),
        ],
        "graph",
        [helper.make_tensor_value_info("image", kind, ["batch", 2, 200, 200])],
        [
            helper.make_tensor_value_info("task", kind, ["batch", 3]),
            helper.make_tensor_value_info("gated", kind, ["batch", 2, 200, 200]),
        ],
        [numpy_helper.from_array(np.ones((2, 3), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    half = to_fp16(model)

    onnx.checker.check_model(half, full_check=True)
    known = onnx.shape_inference.infer_shapes(half).graph.value_info
    types = {value.name: value.type.tensor_type.elem_type for value in known}
    read = {node.name: types[node.input[0]] for node in half.graph.node[1:-1]}
    floats = {name for name, of in read.items() if of == kind}
    assert floats == {"mean", "mean/half"}
    assert set(read) == {*floats, "mean/float", "flat", "fc", "task", "gate", "product"}
    session = onnxruntime.InferenceSession(half.SerializeToString())
    picture = np.full((1, 2, 200, 200), 3, np.float32)
    np.testing.assert_array_equal(session.run(["task"], {"image": picture})[0], [[6, 6, 6]])


def test_a_resizing_and_constants_inside_become_half() -> None:
    """A resizing's scales stay float; what nodes make of themselves, as others write, is half."""
    one = numpy_helper.from_array(np.full((1, 1, 1, 1), 0.5, np.float32))
    nodes = [
        helper.make_node("Resize", ["image", "", "scales"], ["a"], name="up", mode="nearest"),
        helper.make_node("Constant", [], ["c"], name="half", value=one),
        helper.make_node("Mul", ["a", "c"], ["b"], name="mul"),
        helper.make_node("Greater", ["b", "c"], ["large"], name="greater"),
        helper.make_node("Cast", ["large"], ["mask"], name="cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["b", "mask"], ["out"], name="masked"),
    ]
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["B", 1, 2, 2])
    out = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["B", 1, 4, 4])
    graph = helper.make_graph(nodes, "g", [image], [out], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    half = to_fp16(model)

    onnx.checker.check_model(half, full_check=True)
    values = np.array([[[[0.25, 1.0], [1.5, 4.0]]]], np.float32)
    session = onnxruntime.InferenceSession(
        half.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"image": values})
    expected = (values / 2 * (values > 1)).repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_array_equal(found, expected)
