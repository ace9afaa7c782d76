"""Kernels and moved values of small graphs, counted by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from snow_export.inspect.launches import Workload, estimate_workload, source_part

SIZE = 8


class Sketch:
    """A graph of one input [batch, 4, 8, 8]."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: object) -> str:
        made = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [made], name=made, **attributes))  # type: ignore[arg-type]
        return made

    def constant(self, *shape: int, values: list[int] | None = None) -> str:
        name = f"constant{len(self.constants)}"
        array = np.ones(shape, np.float32) if values is None else np.array(values, np.int64)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, x: str, inputs: int = 4, outputs: int = 4, name: str = "") -> str:
        return self.node("Conv", x, self.constant(outputs, inputs, 1, 1), name=name)

    def model(self, *outputs: str, rank: int = 4) -> onnx.ModelProto:
        axes = ["batch", *(f"x{number}" for number in range(rank - 1))]
        graph = helper.make_graph(
            self.nodes,
            "sketch",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4, SIZE, SIZE])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name in outputs],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


MAP = 4 * SIZE * SIZE  # values of the input, and of a convolution's result


def test_a_convolution_takes_along_what_is_pointwise() -> None:
    net = Sketch()
    first = net.node("Relu", net.conv("image"))
    second = net.node("Relu", net.node("Add", net.conv(first), first))

    found = estimate_workload(net.model(second))

    # Two convolutions and the conversion of the input. The first reads the picture and writes; the
    # second reads that and writes.
    assert found == Workload(3, 2 * 4 * MAP, 2 * 16, 4 * MAP)


def test_an_activation_of_two_nodes_is_pointwise_too() -> None:
    net = Sketch()
    x = net.conv("image")
    swish = net.node("Mul", x, net.node("Sigmoid", x))

    assert estimate_workload(net.model(net.conv(swish))).layers == 3


def test_a_pointwise_node_that_another_kernel_needs_before_is_no_part_of_the_convolution() -> None:
    net = Sketch()
    x = net.conv("image")
    gate = net.node("Sigmoid", net.conv(x))  # a convolution of its own between the two
    assert estimate_workload(net.model(net.node("Mul", x, gate))).layers == 3

    net = Sketch()
    x = net.node("Relu", net.conv("image"))
    scaled = net.node("Mul", x, net.constant(1, 4, 1, 1))  # x is read unscaled too
    assert estimate_workload(net.model(net.conv(x), net.conv(scaled))).layers == 5


def test_a_concatenation_takes_along_what_is_gathered_for_it() -> None:
    net = Sketch()
    source, local = net.conv("image"), net.conv("image")
    chosen = net.node("Gather", source, net.constant(2, values=[0, 2]), axis=1)
    weighted = net.node("Relu", net.node("Mul", chosen, net.constant(1, 2, 1, 1)))
    flat = net.node("Reshape", weighted, net.constant(4, values=[0, 2, SIZE, SIZE]))
    joined = net.node("Concat", local, flat, axis=1)

    found = estimate_workload(net.model(net.conv(joined, 6), source))

    # Three convolutions, one kernel that gathers and joins, and the conversion. Read: the picture
    # twice, both maps by the concatenation, and its result (6 channels). Written: both maps, the
    # concatenation and the last convolution's.
    assert found.layers == 5
    assert found.values == (2 + 2) * MAP + 6 * SIZE**2 + 2 * MAP + 6 * SIZE**2 + MAP


def test_a_mean_takes_along_a_concatenation_and_views_cost_nothing() -> None:
    net = Sketch()
    joined = net.node("Concat", net.conv("image"), net.conv("image"), axis=1)
    flat = net.node("Flatten", net.node("GlobalAveragePool", joined))
    logits = net.node("Gemm", flat, net.constant(8, 3))

    found = estimate_workload(net.model(logits, rank=2))

    assert found.layers == 2 + 1 + 1 + 1
    assert found.values == 4 * MAP + 2 * MAP + 2 * 8 + 3


def test_a_gather_for_several_is_a_kernel() -> None:
    net = Sketch()
    x = net.conv("image")
    chosen = net.node("Gather", x, net.constant(4, values=[0, 1, 2, 3]), axis=1)

    assert estimate_workload(net.model(net.conv(chosen), net.conv(chosen))).layers == 5


def test_a_picture_counts_once_whatever_the_batch_of_the_graph() -> None:
    net = Sketch()
    model = net.model(net.node("Relu", net.conv("image")))
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4

    assert estimate_workload(fixed) == estimate_workload(model)


def test_the_source_is_told_apart() -> None:
    net = Sketch()
    source = net.node("Relu", net.conv("image", name="source/conv"), name="source/relu")
    own = net.conv("image", outputs=2, name="food/conv1")
    joined = net.node("Concat", own, source, axis=1, name="cat")
    food = net.conv(joined, 6, 2, name="food/conv2")
    food = net.node("Identity", food, name="food")
    model = net.model("food")

    part = source_part(model)

    assert [node.name for node in part.graph.node] == ["source/conv", "source/relu"]
    assert [value.name for value in part.graph.output] == [source]
    assert estimate_workload(part) == Workload(2, 4 * MAP, 16, 2 * MAP)
    assert food == "food"


def test_a_graph_without_the_source_has_no_part_of_it() -> None:
    net = Sketch()
    net.node("Relu", net.conv("image", name="food/conv"), name="food")

    part = source_part(net.model("food"))

    assert estimate_workload(part) == Workload(0, 0, 0, 0)


def test_workloads_add_up() -> None:
    one, two = Workload(1, 20, 300, 4000), Workload(5, 6, 7, 8)

    assert one + two == Workload(6, 26, 307, 4008)
    assert one + two - two == one


@pytest.mark.tensorrt
def test_the_estimate_is_what_is_compiled() -> None:
    """Of a chain as our graphs have them; on whole networks it may differ by some percent."""
    pytest.importorskip("tensorrt_rtx_bindings")
    from snow_runtime.engine.build import compile_graph
    from snow_runtime.graph.half_precision import to_fp16

    net = Sketch()
    x = net.node("Relu", net.conv("image"))
    for _ in range(3):
        x = net.node("Relu", net.node("Add", net.conv(net.node("Relu", net.conv(x))), x))
    flat = net.node("Flatten", net.node("GlobalAveragePool", x))
    model = net.model(net.node("Gemm", flat, net.constant(4, 3)), rank=2)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3

    compiled = compile_graph(to_fp16(model).SerializeToString()).compute_layers

    assert estimate_workload(model).layers == pytest.approx(len(compiled), abs=1)
