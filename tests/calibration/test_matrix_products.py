"""Products of tokens and a constant matrix, as ConvNeXt's, where most of its arithmetic lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from snow_calibration.arithmetic import multiply_adds, share
from snow_calibration.lint import lint
from snow_calibration.quantisation_plan import layers_of, make_plan
from snow_calibration.quantise import half_scale, quantise
from snow_runtime.graph.half_precision import to_fp16
from snow_runtime.graph.quantised import QuantisedGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANGES = {"image": 3.0, "nhwc": 4.0, "wide": 5.0, "flat": 2.0}
LAYERS = ("conv", "up", "down", "fc")


def weights() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    shapes = {
        "w1": (16, 3, 3, 3),
        "w2": (16, 40),
        "b2": (40,),
        "w3": (40, 12),
        "w4": (5, 36),
    }
    found = {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    found["w3"] *= np.logspace(-2, 0, 12, dtype=np.float32)  # columns of very unequal sizes
    found["average"] = np.kron(np.eye(3), np.full((4, 1), 0.25)).astype(np.float32)  # [12, 3]
    return found


def token_net() -> onnx.ModelProto:
    """Make a network like a ConvNeXt block, and a pool that averages by a narrow matrix.

    image [B, 3, 12, 12] -> conv -> relu -> nhwc -> up (16 -> 40) -> + bias -> wide (relu)
    -> down (40 -> 12) -> nchw [B, 12, 12, 12] -> narrow (12 -> 3 columns) -> mean over the rows
    -> flat [B, 36] -> fc -> answer [B, 5]
    """

    def node(op: str, name: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [name], name=name, **attributes)

    nodes = [
        node("Conv", "conv", "image", "w1", pads=[1, 1, 1, 1]),
        node("Relu", "relu", "conv"),
        node("Sqrt", "nonlinear", "relu"),
        node("Transpose", "nhwc_", "nonlinear", perm=[0, 2, 3, 1]),
        node("Abs", "nhwc", "nhwc_"),
        node("MatMul", "up", "nhwc", "w2"),
        node("Add", "biased", "up", "b2"),
        node("Relu", "wide", "biased"),
        node("MatMul", "down", "wide", "w3"),
        node("Transpose", "nchw", "down", perm=[0, 3, 1, 2]),
        node("MatMul", "narrow", "nchw", "average"),
        node("AveragePool", "mean", "narrow", kernel_shape=[12, 1]),
        node("Abs", "flat", "mean"),
        node("Flatten", "flattened", "flat"),
        helper.make_node("Gemm", ["flattened", "w4"], ["answer"], name="fc", transB=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, 12, 12])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["B", 5])
    constants = [numpy_helper.from_array(value, name) for name, value in weights().items()]
    graph = helper.make_graph(nodes, "tokens", [image], [answer], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto, feed: NDArray[np.float32], *, optimised: bool) -> Any:
    options = onnxruntime.SessionOptions()
    if not optimised:
        none = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = none
    options.add_session_config_entry("session.x64quantprecision", "1")  # as the runtime does
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": feed})[0]


def feed() -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(4, 3, 12, 12)).astype(np.float32)


def fake(values: NDArray[Any], limit: float) -> NDArray[Any]:
    scale = float(half_scale(limit))
    return np.rint(values.astype(np.float64) / scale).clip(-128, 127) * scale


def fake_rows(weight: NDArray[Any]) -> NDArray[Any]:
    """Quantise an [O, …] weight, a scale an output."""
    rows = [fake(row, float(np.abs(row).max())) for row in weight]
    return np.stack(rows)


def by_hand(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the network in double precision with every value quantised that the rules name."""
    found = weights()
    padded = np.pad(fake(image, 3.0), ((0, 0), (0, 0), (1, 1), (1, 1)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    conv = np.einsum("bcyxij,ocij->byxo", patches, fake_rows(found["w1"]))
    up = fake(np.sqrt(conv.clip(0)), 4.0) @ fake_rows(found["w2"].T).T + found["b2"]
    down = fake(up.clip(0), 5.0) @ fake_rows(found["w3"].T).T
    narrow = down.transpose(0, 3, 1, 2) @ found["average"]
    flat = np.abs(narrow.mean(2)).reshape(len(image), -1)
    answer: NDArray[np.float64] = fake(flat, 2.0) @ fake_rows(found["w4"]).T
    return answer


def quantised_net() -> onnx.ModelProto:
    model = token_net()
    found = quantise(model, make_plan(model.graph), RANGES)
    onnx.checker.check_model(found, full_check=True)
    return found


def test_products_of_tokens_are_layers_and_narrow_averages_are_not() -> None:
    graph = token_net().graph
    plan = make_plan(graph)

    assert layers_of(graph) == plan.layers == LAYERS
    assert plan.reads == {("conv", 0), ("up", 0), ("down", 0), ("flattened", 0)}
    assert QuantisedGraph(quantised_net().graph).layers() == LAYERS


@pytest.mark.parametrize("shape", [(16, 7), (7, 16), (16,)])
def test_a_product_that_fills_no_tile_is_left_alone(shape: tuple[int, ...]) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    weight = numpy_helper.from_array(np.ones(shape, np.float32), "w")

    assert layers_of(helper.make_graph([node], "g", [], [], [weight])) == ()


def test_a_product_of_two_computed_values_is_left_alone() -> None:
    node = helper.make_node("MatMul", ["x", "z"], ["y"], name="product")

    assert layers_of(helper.make_graph([node], "g", [], [])) == ()


@pytest.mark.parametrize("optimised", [False, True])
def test_the_answers_are_those_of_the_rules_by_hand(*, optimised: bool) -> None:
    """Also by ONNX Runtime's integer kernels, which take the products over."""
    seen, expected = run(quantised_net(), feed(), optimised=optimised), by_hand(feed())

    # A value that lies on the edge of two levels may round either way.
    assert np.abs(seen - expected).max() < 0.02
    assert np.abs(seen - expected).mean() < 1e-3
    assert np.abs(run(token_net(), feed(), optimised=False) - expected).mean() > 1e-3


def test_a_batch_of_matrices_has_a_scale_for_each_column() -> None:
    """As of tasks side by side: [T, I, O], of which a column's scale serves all T."""
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(3, 16, 8)).astype(np.float32)
    node = helper.make_node("MatMul", ["image", "w"], ["answer"], name="product")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [3, 4, 16])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [3, 4, 8])
    graph = helper.make_graph(
        [node], "g", [image], [answer], [numpy_helper.from_array(weight, "w")]
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    found = quantise(model, make_plan(graph), {"image": 4.0})
    values = rng.normal(size=(3, 4, 16)).astype(np.float32)

    columns = fake_rows(np.moveaxis(weight, 2, 0))  # [O, T, I]
    expected = fake(values, 4.0) @ np.moveaxis(columns, 0, 2)

    assert lint(found) == ()
    assert run(found, values, optimised=False) == pytest.approx(expected, abs=1e-4)


def test_the_same_where_the_rest_is_half() -> None:
    half = to_fp16(quantised_net())
    onnx.checker.check_model(half, full_check=True)

    assert np.abs(run(half, feed(), optimised=False) - by_hand(feed())).max() < 0.05
    assert lint(half) == ()


def test_the_lint_wants_a_scale_for_each_column() -> None:
    model = quantised_net()
    tensor = next(item for item in model.graph.initializer if item.name == "w2/scale")
    tensor.CopyFrom(numpy_helper.from_array(np.array(0.1, np.float32), tensor.name))

    (finding,) = lint(model)

    assert (finding.node, finding.rule) == ("up", "per-channel-weight")
    assert "40 output channels on axis 1" in finding.message


def test_the_lint_reads_a_weight_that_is_transposed_on_the_way() -> None:
    """As PyTorch's exporters write a Linear: rows of the stored weight are the columns read."""
    model = quantised_net()
    tensors = {item.name: item for item in model.graph.initializer}
    stored = numpy_helper.to_array(tensors["w2/int8"])
    tensors["w2/int8"].CopyFrom(numpy_helper.from_array(stored.T.copy(), "w2/int8"))
    nodes = {node.name: node for node in model.graph.node}
    (axis,) = nodes["w2/dequantised"].attribute
    axis.i = 0
    nodes["up"].input[1] = "w2/turned"
    turn = helper.make_node("Transpose", ["w2/dequantised"], ["w2/turned"], name="turn")
    model.graph.node.insert([*nodes].index("up"), turn)
    assert run(model, feed(), optimised=False) == pytest.approx(by_hand(feed()), abs=0.02)

    assert lint(model) == ()
    axis.i = 1
    assert {(found.node, found.rule) for found in lint(model)} == {("up", "per-channel-weight")}


def test_products_of_computed_values_have_one_scale_each() -> None:
    """As of attention: both sides are activations, of which TensorRT wants one scale a tensor."""
    names = ("image", "other")
    constants = [
        numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    nodes = []
    for name in names:
        made = (name, "scale", "zero"), (f"{name}/q", "scale", "zero")
        nodes += [
            helper.make_node("QuantizeLinear", made[0], [f"{name}/q"], name=f"{name}/q"),
            helper.make_node("DequantizeLinear", made[1], [f"{name}/dq"], name=f"{name}/dq"),
        ]
    nodes.append(helper.make_node("MatMul", ["image/dq", "other/dq"], ["y"], name="product"))
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], constants))
    assert lint(model) == ()

    nodes[-1].input[0] = "image"
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], constants))
    assert [found.rule for found in lint(model)] == ["unquantised-input"]


def test_the_share_is_of_the_arithmetic() -> None:
    pixels = 12 * 12
    macs = {
        "conv": pixels * 16 * 3 * 9,
        "up": pixels * 16 * 40,
        "down": pixels * 40 * 12,
        "narrow": 12 * 12 * 12 * 3,
        "fc": 36 * 5,
    }
    assert multiply_adds(token_net()) == macs
    assert share(macs, LAYERS) == pytest.approx(1 - macs["narrow"] / sum(macs.values()))
    assert share(macs, ()) == 0


@pytest.mark.tensorrt
def test_tensorrt_computes_them_in_int8() -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    from snow_runtime.engine.achieved import achieved
    from snow_runtime.engine.build import compile_graph

    plan = compile_graph(to_fp16(quantised_net()).SerializeToString())
    found = achieved(plan.layers, plan.convolutions, "int8", LAYERS)

    assert found.by_precision == {"int8": 4, "fp16": 1}
    assert found.share == 1
