from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from snow_calibration.errors import CalibrationError
from snow_calibration.quantisation_plan import make_plan
from snow_calibration.quantise import half_scale, quantise, quantise_weight
from snow_calibration.thresholds import LEVELS
from snow_runtime.graph.half_precision import to_fp16
from tests.calibration.conftest import small_net

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANGES = {"image": 3.0, "relu1": 4.0, "relu2": 5.0, "concat": 5.0, "pool": 2.0}


def batch() -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(6, 3, 8, 8)).astype(np.float32)


def run(model: onnx.ModelProto, feed: NDArray[np.float32]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    answer: NDArray[np.float32] = session.run(None, {"image": feed})[0]
    return answer


def fake(values: NDArray[Any], limit: float) -> NDArray[Any]:
    scale = half_scale(limit)
    levels: NDArray[Any] = np.rint(values / scale).clip(-128, 127)
    return (levels * scale).astype(np.float32)


def fake_weight(weight: NDArray[Any]) -> NDArray[Any]:
    levels, scale = quantise_weight(weight, 0)
    found: NDArray[Any] = levels * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return found


def by_hand(feed: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the small network in torch, with every value quantised that the rules name."""
    import torch
    from torch.nn import functional

    constants = {t.name: numpy_helper.to_array(t) for t in small_net().graph.initializer}

    def conv(values: NDArray[Any], number: int, padding: int) -> NDArray[Any]:
        weight, bias = fake_weight(constants[f"w{number}"]), constants[f"b{number}"]
        data, filters, shift = (
            torch.from_numpy(np.array(each, np.float32)) for each in (values, weight, bias)
        )
        result: NDArray[Any] = functional.conv2d(data, filters, shift, padding=padding).numpy()
        return result

    relu1 = conv(fake(feed, 3.0), 1, 1).clip(0)
    shared = fake(relu1, 5.0)  # one scale with what it is concatenated with
    relu2 = (conv(shared, 2, 1) + shared).clip(0)
    joined = np.concatenate([fake(relu2, 5.0), shared], axis=1)
    pooled = conv(fake(joined, 5.0), 3, 0).clip(0).mean((2, 3))
    answer: NDArray[np.float32] = (
        fake(pooled, 2.0) @ fake_weight(constants["w4"]).T + constants["b4"]
    )
    return answer


def test_the_answers_are_those_of_the_rules_by_hand() -> None:
    model = small_net()
    quantised = quantise(model, make_plan(model.graph), RANGES)
    onnx.checker.check_model(quantised, full_check=True)

    seen, expected = run(quantised, batch()), by_hand(batch())

    # A value that lies on the edge of two levels may round either way.
    assert np.abs(seen - expected).max() < 0.02
    assert np.abs(seen - expected).mean() < 1e-3
    assert np.abs(run(model, batch()) - expected).mean() > 1e-3


def test_weights_are_onnx_runtimes_own_but_for_the_half_precision_scale() -> None:
    from onnxruntime.quantization.quant_utils import quantize_data

    weight = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)

    levels, scales = quantise_weight(weight, 0)

    for row, level, scale in zip(weight, levels, scales, strict=True):
        zero_point, theirs, stored = quantize_data(row, TensorProto.INT8, symmetric=True)
        assert zero_point == 0
        assert scale == pytest.approx(float(theirs), rel=2e-3)
        assert np.abs(level.astype(int) - np.asarray(stored).astype(int)).max() <= 1


def test_the_float_weights_are_gone_and_the_biases_are_float() -> None:
    model = small_net()
    quantised = quantise(model, make_plan(model.graph), RANGES)

    kinds = {t.name: t.data_type for t in quantised.graph.initializer}
    assert not {"w1", "w2", "w3", "w4"} & set(kinds)
    assert all(kinds[f"b{n}"] == TensorProto.FLOAT for n in (1, 2, 3, 4))
    assert all(kinds[f"w{n}/int8"] == TensorProto.INT8 for n in (1, 2, 3, 4))
    zeros = [numpy_helper.to_array(t) for t in quantised.graph.initializer if "zero" in t.name]
    assert zeros
    assert not any(zero.any() for zero in zeros)


def test_a_kept_layer_has_its_float_weight() -> None:
    model = small_net()
    plan = make_plan(model.graph, ["conv3"])
    quantised = quantise(model, plan, RANGES)

    conv3 = next(node for node in quantised.graph.node if node.name == "conv3")
    assert conv3.input[1] == "w3"
    assert conv3.input[0] == "concat"


def test_the_same_numbers_where_the_rest_is_half() -> None:
    model = small_net()
    quantised = quantise(model, make_plan(model.graph), RANGES)
    half = to_fp16(quantised)
    onnx.checker.check_model(half, full_check=True)

    weights = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    for tensor in half.graph.initializer:
        if tensor.name.endswith("scale"):
            assert tensor.data_type == TensorProto.FLOAT16
            assert (numpy_helper.to_array(tensor) == weights[tensor.name]).all()
    assert np.abs(run(half, batch()) - run(quantised, batch())).mean() < 5e-3


@pytest.mark.parametrize("value", [None, -1.0, float("nan"), float("inf")])
def test_a_missing_or_senseless_range_is_refused(value: float | None) -> None:
    model = small_net()
    ranges = {k: v for k, v in RANGES.items() if k != "relu2"}
    if value is not None:
        ranges["relu2"] = value

    with pytest.raises(CalibrationError, match="no range for relu2"):
        quantise(model, make_plan(model.graph), ranges)


@given(st.floats(1e-6, 6e4))
def test_a_scale_is_a_half_that_just_holds_the_threshold(threshold: float) -> None:
    scale = float(half_scale(threshold))

    assert float(np.float16(scale)) == scale
    assert scale * LEVELS >= threshold * (1 - 1e-12)
    below = float(np.nextafter(np.float16(scale), np.float16(0)))
    assert below * LEVELS < threshold or scale <= 2.0**-24


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-7, 1e-3, 1.0, 1e3]))
def test_a_weight_comes_back_within_half_a_step(seed: int, size: float) -> None:
    weight = (np.random.default_rng(seed).normal(size=(3, 4, 2)) * size).astype(np.float32)

    for axis in (0, 1):
        levels, scale = quantise_weight(weight, axis)
        wide = scale.reshape([-1 if index == axis else 1 for index in range(3)])
        assert np.abs(levels).max() <= LEVELS
        assert (np.abs(levels * wide - weight) <= wide * 0.5001).all()


def test_a_tensor_that_is_always_zero_widens_no_scale() -> None:
    """It shares one with what it is concatenated with, which would lose its levels."""

    def made(relu2: float) -> onnx.ModelProto:
        ranges = {**RANGES, "relu1": 0.04, "relu2": relu2, "concat": 0.05}
        return quantise(small_net(), make_plan(small_net().graph, ()), ranges)

    assert run(made(0.0), batch()) == pytest.approx(run(made(0.01), batch()))
    assert run(made(0.0), batch()) != pytest.approx(run(made(1.0), batch()))


def test_zeros_alone_fit_any_scale() -> None:
    nothing = dict.fromkeys(RANGES, 0.0)
    quantised = quantise(small_net(), make_plan(small_net().graph, ()), nothing)

    assert np.isfinite(run(quantised, batch())).all()


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceL2"])
def test_reductions_of_the_older_spelling_are_raised_too(op: str) -> None:
    """Their axes became an input with opset 18, and INT8 graphs are of a later one."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], name="conv", kernel_shape=[3, 3]),
        helper.make_node(op, ["a"], ["b"], name="pool", axes=[2, 3], keepdims=0),
        helper.make_node(op, ["a"], ["c"], name="more", axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["b", "c"], ["out"], name="sum"),
    ]
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "w")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, 8, 8])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["B", 4])
    graph = helper.make_graph(nodes, "g", [image], [out], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    plan = make_plan(model.graph)
    images = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)

    quantised = quantise(model, plan, {"image": 4.0})

    onnx.checker.check_model(quantised, full_check=True)
    assert np.abs(run(quantised, images) - run(model, images)).max() < 1.5
