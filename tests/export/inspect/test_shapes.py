"""Graphs as other exporters write them; what each costs is worked out by hand."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from snow_export.inspect.cost import measure_cost
from snow_runtime.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONV = 8 * 32 * 32 * 27  # C_out, H, W, C_in times kernel
WEIGHT = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")


def value(name: str, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def conv(reads: str, makes: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [reads, "w"], [makes], pads=[1, 1, 1, 1])


def integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
    **more: Any,
) -> onnx.ModelProto:
    infos = more.pop("value_info", [])
    graph = helper.make_graph(
        nodes, "foreign", inputs, outputs, [WEIGHT, *constants], value_info=infos
    )
    domains = {"": 17, **more.pop("domains", {})}
    opsets = [helper.make_opsetid(*item) for item in domains.items()]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, **more)
    onnx.checker.check_model(made)
    return made


def macs(made: onnx.ModelProto) -> int:
    return measure_cost(made).total.macs


def test_a_shape_that_is_computed_from_constants() -> None:
    """By Compress, which ONNX's inference does not follow: not even the rank is known to it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Compress", ["sizes", "keep"], ["rest"], axis=0),
        helper.make_node("Concat", ["batch", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["planes"]),
        conv("planes", "c"),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    keep = numpy_helper.from_array(np.array([True, True, True, False]), "keep")
    constants = [integers("zero", 0), integers("sizes", 3, 32, 32, 7), keep]
    made = model(nodes, [value("x", ["N", 3072])], [value("y", ["N", 8, 32, 32])], constants)

    assert macs(made) == CONV


def test_a_rank_that_is_not_known_is_no_scalar() -> None:
    """The sizes come in as an input, so nothing tells them."""
    nodes = [helper.make_node("Reshape", ["x", "sizes"], ["planes"]), conv("planes", "y")]
    sizes = helper.make_tensor_value_info("sizes", TensorProto.INT64, ["rank"])
    made = model(nodes, [value("x", ["N", 3072]), sizes], [value("y", ["N", 8, "h", "w"])])

    with pytest.raises(GraphError, match=r"The shape of 'planes' at node .* does not follow"):
        macs(made)


@pytest.mark.parametrize("left_open", [-1, 0, "N"])
def test_an_open_batch_in_any_spelling(left_open: int | str) -> None:
    """Paddle writes -1 into inputs, outputs and what lies between."""
    nodes = [conv("x", "c"), helper.make_node("Mul", ["c", "s"], ["y"])]
    inputs = [value("x", [left_open, 3, 32, 32]), value("s", [left_open, 1, 1, 1])]
    side = left_open if left_open != "N" else "side"
    outputs = [value("y", [left_open, 8, side, side])]
    between = [value("c", [left_open, 8, side, side])]

    cost = measure_cost(model(nodes, inputs, outputs, value_info=between))

    assert (cost.batch, cost.total.macs) == (1, CONV)


@pytest.mark.parametrize("left_open", [-1, 0, "side"])
def test_an_open_picture_size_in_any_spelling_is_refused(left_open: int | str) -> None:
    shape: list[int | str] = ["N", 3, left_open, left_open]
    made = model([conv("x", "y")], [value("x", shape)], [value("y", ["N", 8, "h", "w"])])

    with pytest.raises(GraphError, match="expected fixed sizes but for the batch"):
        macs(made)


def test_an_output_whose_first_axis_is_not_the_batch() -> None:
    nodes = [conv("x", "c"), helper.make_node("Reshape", ["c", "rows"], ["y"])]
    rows = integers("rows", -1, 1024)
    made = model(nodes, [value("x", ["N", 3, 32, 32])], [value("y", ["rows", 1024])], [rows])

    assert macs(made) == CONV


def function(name: str, nodes: list[onnx.NodeProto], opset: int = 17) -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("pkg", 1)]
    return helper.make_function("pkg", name, ["x", "w"], ["y"], nodes, imports)


@pytest.mark.parametrize("opset", [17, 15])
def test_functions_within_functions_are_looked_into(opset: int) -> None:
    inner = function("inner", [conv("x", "c"), helper.make_node("Relu", ["c"], ["y"])], opset)
    outer = function("outer", [helper.make_node("inner", ["x", "w"], ["y"], domain="pkg")])
    nodes = [
        helper.make_node("outer", ["x", "w"], ["a"], domain="pkg", name="first"),
        helper.make_node("outer", ["x", "w"], ["b"], domain="pkg", name="second"),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    image, answer = value("x", ["N", 3, 32, 32]), value("y", ["N", 8, 32, 32])
    made = model(nodes, [image], [answer], functions=[inner, outer], domains={"pkg": 1})
    before = made.SerializeToString(deterministic=True)

    cost = measure_cost(made)

    assert cost.total.macs == 2 * CONV
    assert cost.total.parameters == 8 * 27
    assert cost.uncounted == {}
    assert made.SerializeToString(deterministic=True) == before


def test_operators_of_other_domains_are_told() -> None:
    """Their shapes are taken from what the graph says of them."""
    nodes = [
        helper.make_node("Magic", ["x"], ["m"], domain="acme"),
        helper.make_node("QuickGelu", ["m"], ["g"], domain="com.microsoft"),
        conv("g", "y"),
    ]
    made = model(
        nodes,
        [value("x", ["N", 5])],
        [value("y", ["N", 8, 32, 32])],
        value_info=[value("m", ["N", 3, 32, 32]), value("g", ["N", 3, 32, 32])],
        domains={"acme": 1, "com.microsoft": 1},
    )

    cost = measure_cost(made)

    assert cost.total.macs == CONV
    assert cost.uncounted == {"acme::Magic": 1}


def test_products_of_vectors() -> None:
    vector = numpy_helper.from_array(np.ones(7, np.float32), "v")
    nodes = [helper.make_node("MatMul", ["x", "v"], ["y"])]

    assert macs(model(nodes, [value("x", ["N", 7])], [value("y", ["N"])], [vector])) == 7
    assert macs(model(nodes, [value("x", [7])], [value("y", [])], [vector])) == 7


@pytest.fixture
def two_gigabytes() -> Iterator[None]:
    """Let this process take no more than that, besides what it has."""
    with Path("/proc/self/statm").open(encoding="ascii") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**31, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("two_gigabytes")
@pytest.mark.parametrize("maker", ["Range", "ConstantOfShape", "constant"])
def test_a_long_vector_takes_no_room(maker: str) -> None:
    """ONNX's inference takes one for a shape, and would write each of its axes down."""
    length = 2**40
    numbers = {"start": 0, "end": length, "step": 1}
    constants = [numpy_helper.from_array(np.array(it), name) for name, it in numbers.items()]
    inputs = [value("x", ["N", 3, 32, 32])]
    nodes = [conv("x", "c"), helper.make_node("Add", ["v", "step"], ["w2"])]
    if maker == "Range":
        nodes.insert(0, helper.make_node("Range", ["start", "end", "step"], ["v"]))
    elif maker == "ConstantOfShape":
        constants.append(integers("length", length))
        zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
        nodes.insert(0, helper.make_node("ConstantOfShape", ["length"], ["v"], value=zero))
    else:
        inputs.append(helper.make_tensor_value_info("v", TensorProto.INT64, [length]))
    answers = [
        value("c", ["N", 8, 32, 32]),
        helper.make_tensor_value_info("w2", TensorProto.INT64, [None]),
    ]

    assert macs(model(nodes, inputs, answers, constants)) == CONV
