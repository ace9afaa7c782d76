"""Graphs that other tools quantised in forms that TensorRT does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.inliner
import pytest
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from snow_calibration.lint import lint
from snow_calibration.quantisation_plan import make_plan
from snow_calibration.quantise import quantise
from snow_runtime.graph.manifest import METADATA_KEY
from tests.calibration.conftest import small_net
from tests.calibration.test_quantise import RANGES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOMAIN = "org.example"


class _Pictures:
    """What ONNX Runtime calls a CalibrationDataReader; only this method of it is called."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.left = 3

    def get_next(self) -> dict[str, Any] | None:
        self.left -= 1
        picture = self.rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
        return {"image": picture} if self.left >= 0 else None


def by_onnx_runtime(folder: Path, form: str) -> onnx.ModelProto:
    source, made = folder / "float.onnx", folder / f"{form}.onnx"
    onnx.save(small_net(), source)
    if form == "dynamic":
        quantize_dynamic(source, made)
    else:
        quantize_static(
            source,
            made,
            _Pictures(),
            quant_format=QuantFormat.QOperator if form == "operators" else QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={
                "ActivationSymmetric": True,
                "QuantizeBias": False,
                "UseQDQContribOps": form == "contrib",
            },
        )
    return onnx.load(made)


def int8() -> onnx.ModelProto:
    model = small_net()
    return quantise(model, make_plan(model.graph), RANGES)


def in_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put every pair of activations into calls of one function, as some exporters do."""
    made = {name: node for node in model.graph.node for name in node.output}
    nodes = []
    for node in model.graph.node:
        quantiser = made.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantiser is not None:
            inputs = [quantiser.input[0], *node.input[1:]]
            nodes.append(
                helper.make_node("Fake", inputs, node.output, name=node.name, domain=DOMAIN)
            )
        elif node.op_type != "QuantizeLinear":
            nodes.append(node)
    body = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dq"),
    ]
    opset = [helper.make_opsetid("", 19)]
    function = helper.make_function(DOMAIN, "Fake", ["x", "s", "z"], ["y"], body, opset)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    onnx.checker.check_model(model)
    return model


def rules(model: onnx.ModelProto) -> set[str]:
    return {finding.rule for finding in lint(model)}


def test_integer_operators_are_named_one_by_one(tmp_path: Path) -> None:
    model = by_onnx_runtime(tmp_path, "operators")
    found = [finding for finding in lint(model) if finding.rule == "integer-operator"]

    kinds = {node.name: node.op_type for node in model.graph.node}
    onnxs_own = {node.op_type for node in small_net().graph.node}
    plain = {"QuantizeLinear", "DequantizeLinear"} | onnxs_own
    assert [finding.node for finding in found] == [
        name for name, kind in kinds.items() if kind not in plain
    ]
    assert {kinds[finding.node] for finding in found} >= {"QLinearConv", "QLinearAdd", "QGemm"}
    for finding in found:
        assert kinds[finding.node] in finding.message
        assert "QuantFormat.QDQ" in finding.message
        assert "snow-deploy calibrate" not in finding.message


def test_dynamic_quantisation_is_integer_operators_too(tmp_path: Path) -> None:
    model = by_onnx_runtime(tmp_path, "dynamic")
    found = {finding.node for finding in lint(model) if finding.rule == "integer-operator"}

    kinds = {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
    assert found == {node.name for node in model.graph.node if node.op_type in kinds}
    assert len(found) == 8


@pytest.mark.parametrize(
    ("operator", "domain"),
    [
        ("QLinearMatMul", ""),
        ("ConvInteger", ""),
        ("QLinearConcat", "com.microsoft"),
        ("QLinearSoftmax", "com.microsoft"),
        ("QAttention", "com.microsoft"),
        ("MatMulNBits", "com.microsoft"),
        ("MatMulIntegerToFloat", "com.microsoft"),
        ("DynamicQuantizeMatMul", "com.microsoft"),
        ("QOrderedMatMul", "com.microsoft"),
    ],
)
def test_each_integer_operator_is_known(operator: str, domain: str) -> None:
    model = int8()
    model.graph.node.append(helper.make_node(operator, ["image"], ["more"], domain=domain))

    (finding,) = lint(model)

    assert (finding.node, finding.rule) == ("more", "integer-operator")


def test_pairs_of_another_domain_are_findings(tmp_path: Path) -> None:
    model = by_onnx_runtime(tmp_path, "contrib")
    found = [finding for finding in lint(model) if finding.rule == "foreign-domain"]

    pairs = [node.name for node in model.graph.node if node.domain == "com.microsoft"]
    assert [finding.node for finding in found] == pairs
    assert len(pairs) > 20
    assert "com.microsoft::QuantizeLinear" in {f.message.split()[2].rstrip(",") for f in found}
    # The same graph in ONNX's own operators has the same findings but for these.
    own = by_onnx_runtime(tmp_path, "pairs")
    assert rules(own) == rules(model) - {"foreign-domain"} != rules(model)


def test_only_the_domain_is_wrong_with_such_pairs() -> None:
    model = int8()
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            node.domain = "com.microsoft"

    assert rules(model) == {"foreign-domain"}


def test_onnxs_own_domain_may_be_written_out() -> None:
    model = int8()
    for node in model.graph.node:
        node.domain = "ai.onnx"

    assert lint(model) == ()


def test_a_function_is_a_finding_and_is_looked_into() -> None:
    model = in_functions(int8())
    (finding,) = lint(model)

    assert (finding.node, finding.rule) == ("image/dequantised", "function")
    assert f"{DOMAIN}.Fake, one of 5 calls" in finding.message
    assert lint(onnx.inliner.inline_local_functions(model)) == ()


def test_what_is_wrong_in_a_function_is_found() -> None:
    model = in_functions(int8())
    zero = next(item for item in model.graph.initializer if item.name == "int8/zero_point")
    zero.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), zero.name))

    assert rules(model) == {"function", "zero-point"}


def test_integer_operators_in_functions_of_functions_are_found() -> None:
    model = in_functions(int8())
    inner = helper.make_function(
        DOMAIN,
        "Inner",
        ["x"],
        ["y"],
        [helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])],
        [helper.make_opsetid("", 19)],
    )
    outer = helper.make_function(
        DOMAIN,
        "Outer",
        ["x"],
        ["y"],
        [helper.make_node("Inner", ["x"], ["y"], domain=DOMAIN)],
        [helper.make_opsetid("", 19), helper.make_opsetid(DOMAIN, 1)],
    )
    model.functions.extend([inner, outer])
    model.graph.node.append(helper.make_node("Outer", ["image"], ["more"], domain=DOMAIN))

    found = lint(model)

    assert {finding.rule for finding in found} == {"function", "integer-operator"}
    called = " ".join(finding.message for finding in found)
    assert all(f"{DOMAIN}.{name}" in called for name in ("Fake", "Inner", "Outer"))


def test_a_graph_inside_a_node_is_looked_into() -> None:
    """A branch with a layer of its own, which reads values and constants of the graph around."""
    model = int8()
    nodes = {node.name: node for node in model.graph.node}
    conv = nodes["conv2"]
    model.graph.node.remove(conv)
    branch = helper.make_graph([conv], "then", [], [helper.make_empty_tensor_value_info("conv2")])
    choice = helper.make_node("If", ["flag"], ["conv2"], name="if", then_branch=branch)
    at = [node.name for node in model.graph.node].index("add")
    model.graph.node.insert(at, choice)
    assert "unquantised-input" not in rules(model)

    choice = model.graph.node[at]
    choice.attribute[0].g.node[0].input[0] = "relu1"

    assert ("conv2", "unquantised-input") in {(each.node, each.rule) for each in lint(model)}


def test_pairs_that_stand_in_a_branch_only_are_found() -> None:
    inner = int8().graph
    branch = helper.make_graph(list(inner.node), "then", [], [], list(inner.initializer))
    choice = helper.make_node("If", ["flag"], ["y"], name="if", then_branch=branch)
    model = helper.make_model(helper.make_graph([choice], "outer", [], []))

    assert lint(model) == ()


def test_a_foreign_float_graph_is_not_sent_to_calibrate() -> None:
    (foreign,) = lint(small_net())
    ours = small_net()
    helper.set_model_props(ours, {METADATA_KEY: "{}"})
    (own,) = lint(ours)

    assert foreign.rule == own.rule == "not-quantised"
    assert "the tool that made it" in foreign.message
    assert "of 'snow-deploy export' only" in foreign.message
    assert own.message.endswith("Make an INT8 graph of it with 'snow-deploy calibrate'.")


@pytest.mark.parametrize("value", [0.0, -0.5, np.inf, np.nan])
def test_a_scale_that_is_no_number_above_zero(value: float) -> None:
    model = int8()
    scale = next(item for item in model.graph.initializer if item.name == "image/scale")
    scale.CopyFrom(numpy_helper.from_array(np.array(value, np.float32), scale.name))

    found = [(each.node, each.rule) for each in lint(model)]

    assert found == [("image/quantised", "scale"), ("image/dequantised", "scale")]


def test_a_scale_that_depends_on_the_picture() -> None:
    """TensorRT-RTX 1.7 does not refuse such a graph: the process dies."""
    model = int8()
    model.graph.node.insert(0, helper.make_node("ReduceMax", ["image"], ["s"], keepdims=0))
    for node in model.graph.node:
        if node.name.startswith("image/"):
            node.input[1] = "s"

    assert ("image/quantised", "scale") in {(each.node, each.rule) for each in lint(model)}


def test_a_scale_in_another_kind_of_constant_node() -> None:
    model = int8()
    scale = next(item for item in model.graph.initializer if item.name == "image/scale")
    model.graph.initializer.remove(scale)
    value = float(numpy_helper.to_array(scale))
    model.graph.node.insert(0, helper.make_node("Constant", [], [scale.name], value_float=value))

    assert lint(model) == ()


@pytest.mark.tensorrt
@pytest.mark.parametrize(
    ("make", "reads"),
    [
        (lambda folder: by_onnx_runtime(folder, "operators"), False),
        (lambda folder: by_onnx_runtime(folder, "dynamic"), False),
        (lambda _: in_functions(int8()), False),
        (lambda _: onnx.inliner.inline_local_functions(in_functions(int8())), True),
    ],
)
def test_so_tensorrt_says(
    tmp_path: Path, make: Callable[[Path], onnx.ModelProto], *, reads: bool
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    from snow_runtime.engine.build import compile_graph
    from snow_runtime.errors import GraphError

    model = make(tmp_path)

    assert (not lint(model)) == reads
    if reads:
        assert compile_graph(model.SerializeToString()).layers
    else:
        with pytest.raises(GraphError, match="cannot read the graph"):
            compile_graph(model.SerializeToString())
