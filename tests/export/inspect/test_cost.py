from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from torchvision.models import ResNet50_Weights

from snow_export.inspect.cost import OwnerCost, measure_cost
from snow_runtime.errors import GraphError

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from tests.conftest import MakeModel

CONV1 = 4 * 4 * 4 * 3 * 9  # C_out, H, W, C_in, kernel
CONV2 = 2 * 4 * 4 * 3 * 9
DEEP = 6 * 4 * 4 * 2  # two groups: each of the six reads two of four channels
FC = 5 * 6


def test_the_small_graph_by_hand(make_model: MakeModel) -> None:
    cost = measure_cost(make_model())

    source = OwnerCost("source", CONV1, 4 * 27 + 4 + 4, 4 * (4 * 27 + 4 + 4), nodes=3)
    parameters = 2 * 27 + 12 + 30
    food = OwnerCost("food", CONV2 + DEEP + FC, parameters, 4 * parameters + 2 * 8, nodes=7)
    assert cost.owners == (source, food)
    assert cost.batch == 1
    assert cost.uncounted == {}
    assert cost.total.macs == CONV1 + CONV2 + DEEP + FC
    assert cost.macs_over_source == pytest.approx(cost.total.macs / CONV1)


def test_a_fixed_batch_counts_one_picture(make_model: MakeModel) -> None:
    fixed, free = measure_cost(make_model(batch=3)), measure_cost(make_model())

    assert fixed.batch == 3
    assert fixed.owners == free.owners


def test_the_model_is_left_as_it_was(make_model: MakeModel) -> None:
    model = make_model()
    before = model.SerializeToString(deterministic=True)

    measure_cost(model)

    assert model.SerializeToString(deterministic=True) == before


def test_an_unknown_picture_size_is_refused(make_model: MakeModel) -> None:
    with pytest.raises(GraphError, match="does not follow from the graph's inputs, expected fixed"):
        measure_cost(make_model(size="side"))


def test_shapes_that_contradict_each_other_are_refused(make_model: MakeModel) -> None:
    model = make_model()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 6

    with pytest.raises(GraphError, match="shapes contradict each other"):
        measure_cost(model)


def test_what_multiplies_uncounted_is_named() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], name="source/matmul"),
        helper.make_node("Einsum", ["y"], ["z"], name="source/einsum", equation="bij->bji"),
    ]
    values: list[tuple[str, list[str | int]]] = [("x", ["batch", 2, 3]), ("z", ["batch", 4, 2])]
    image, answer = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values)
    weight = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    graph = helper.make_graph(nodes, "small", [image], [answer], [weight])
    cost = measure_cost(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))

    assert cost.total.macs == 2 * 3 * 4
    assert cost.uncounted == {"Einsum": 1}


def test_a_quantised_weight_is_a_parameter_its_scale_is_not() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y"], name="source/conv"),
    ]
    values: list[tuple[str, list[str | int]]] = [
        ("x", ["batch", 2, 3, 3]),
        ("y", ["batch", 4, 3, 3]),
    ]
    image, answer = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values)
    constants: dict[str, NDArray[Any]] = {
        "w8": np.ones((4, 2, 1, 1), np.int8),
        "scale": np.ones(4, np.float32),
        "zero": np.zeros(4, np.int8),
    }
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", [image], [answer], tensors)
    cost = measure_cost(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))

    assert cost.owners == (OwnerCost("source", 4 * 9 * 2, 8, 8 + 16 + 4, nodes=2),)


def test_resnet50_has_its_published_cost() -> None:
    """The figure is torchvision's, from its own count; the network is He et al.'s Table 1."""
    cost = measure_cost(resnet50())

    published = ResNet50_Weights.IMAGENET1K_V1.meta
    assert cost.total.macs / 1e9 == pytest.approx(published["_ops"], abs=5e-4)
    batch_norms = 26_560  # channels: a norm has a scale more than the bias that it folds into
    assert cost.total.parameters == published["num_params"] - batch_norms


def test_no_torch_is_imported() -> None:
    code = "import sys, snow_export.inspect.inspect_graph; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert output == "False\n"


def test_a_compiled_layer_belongs_to_the_owner_of_its_nodes(make_model: MakeModel) -> None:
    cost = measure_cost(make_model())

    assert cost.owner_of_layer(["source/conv", "add"]) == "source"
    assert cost.owner_of_layer(["gather", "cat"]) == "food"
    assert cost.owner_of_layer(["source/relu", "gather"]) == "(several)"
    assert cost.owner_of_layer([]) == "(other)"


class Builder:
    """Writes convolutions without their weights: shapes are all that counting needs."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def weights(self, *shape: int) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"source/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x: str, c_in: int, c_out: int, kernel: int, stride: int = 1) -> str:
        weight, bias = self.weights(c_out, c_in, kernel, kernel), self.weights(c_out)
        pads = [kernel // 2] * 4
        return self.add("Conv", x, weight, bias, strides=[stride, stride], pads=pads)


def resnet50() -> onnx.ModelProto:
    build = Builder()
    x = build.conv("image", 3, 64, 7, 2)
    x = build.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = build.conv(x, channels, width, 1)
            y = build.conv(y, width, width, 3, stride)
            y = build.conv(y, width, 4 * width, 1)
            if not block:
                x = build.conv(x, channels, 4 * width, 1, stride)
            x = build.add("Add", x, y)
            channels = 4 * width
    x = build.add("Flatten", build.add("GlobalAveragePool", x))
    last = helper.make_node("Gemm", [x, build.weights(1000, 2048), build.weights(1000)], ["y"])
    last.attribute.append(helper.make_attribute("transB", 1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1000])
    nodes = [*build.nodes, last]
    graph = helper.make_graph(nodes, "resnet50", [image], [answer], build.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("name", ["other", "several", "total"])
def test_a_task_may_be_called_as_the_table_speaks(make_model: MakeModel, name: str) -> None:
    """Its row stays its own, beside that of a node which belongs to nobody."""
    model = make_model()
    for node in model.graph.node:
        node.name = node.name.replace("food/", f"{name}/")
    model.graph.node.append(helper.make_node("Gemm", ["flatten", "w4"], ["stray"], transB=1))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "unread"))

    cost = measure_cost(model, [name])

    rows = {row.owner: row for row in cost.owners}
    assert len(rows) == len(cost.owners)
    assert rows[name].parameters == 2 * 27 + 12 + 30
    assert rows["(other)"].parameters == 3
    assert cost.total.owner not in {*rows, name}
    assert cost.owner_of_layer(["source/conv", f"{name}/conv"]) not in {*rows, name}
