"""Which layers of a calibrated graph an engine has to compute in INT8."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from snow_runtime.engine.prepare import prepare_graph
from snow_runtime.errors import EngineError
from snow_runtime.graph.manifest import Quantisation
from snow_runtime.graph.onnx_file import with_manifest
from tests.runtime.engine.records import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path


def int8_graph(between: tuple[str, ...]) -> onnx.ModelProto:
    """Make image -> Q -> DQ -> (what is between) -> conv -> pool -> Q -> DQ -> Flatten -> fc."""

    def node(op: str, name: str, *inputs: str, **more: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [name], name=name, **more)

    def array(name: str, value: Any, kind: Any) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, kind), name)

    more: dict[str, Any] = {
        "Transpose": {"perm": [0, 1, 3, 2]},
        "MaxPool": {"kernel_shape": [1, 1]},
        "Gather": {"axis": 1},
        "Cast": {"to": TensorProto.FLOAT},
    }
    reads = {"Reshape": "shape", "Gather": "index"}
    nodes = [
        node("QuantizeLinear", "q", "image", "scale", "zero"),
        node("DequantizeLinear", "moved0", "q", "scale", "zero"),
    ]
    for number, op in enumerate(between):
        inputs = [f"moved{number}", *([reads[op]] if op in reads else [])]
        nodes.append(node(op, f"moved{number + 1}", *inputs, **more.get(op, {})))
    nodes += [
        node("DequantizeLinear", "w", "w/int8", "w/scale", "w/zero", axis=0),
        node("Conv", "source/conv", f"moved{len(between)}", "w"),
        node("GlobalAveragePool", "pool", "source/conv"),
        node("QuantizeLinear", "pool/q", "pool", "scale", "zero"),
        node("DequantizeLinear", "pool/dq", "pool/q", "scale", "zero"),
        node("Flatten", "flat", "pool/dq"),
        node("DequantizeLinear", "v", "v/int8", "v/scale", "v/zero", axis=0),
        helper.make_node("Gemm", ["flat", "v"], ["food"], name="food/fc", transB=1),
    ]
    constants = [
        array("scale", 0.1, np.float32),
        array("zero", 0, np.int8),
        array("shape", [0, 3, 8, 8], np.int64),
        array("index", [2, 1, 0], np.int64),
        array("w/int8", np.ones((4, 3, 1, 1)), np.int8),
        array("w/scale", [0.1] * 4, np.float32),
        array("w/zero", [0] * 4, np.int8),
        array("v/int8", np.ones((5, 4)), np.int8),
        array("v/scale", [0.1] * 5, np.float32),
        array("v/zero", [0] * 5, np.int8),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])
    food = helper.make_tensor_value_info("food", TensorProto.FLOAT, ["batch", 5])
    graph = helper.make_graph(nodes, "int8", [image], [food], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def write(path: Path, model: onnx.ModelProto, layers: int) -> Path:
    made = Quantisation("a" * 64, "entropy", 16, "b" * 64, "fp32", layers)
    manifest = replace(MANIFEST, precision="int8", quantisation=made)
    onnx.save(with_manifest(model, manifest), path)
    return path


@pytest.mark.parametrize(
    "between",
    [
        (),
        ("Identity",),
        ("Reshape",),
        ("Transpose", "Transpose"),
        ("MaxPool",),
        ("Gather",),
        ("Cast",),
        ("Gather", "Reshape", "MaxPool", "Identity"),
    ],
)
def test_layers_are_found_behind_what_only_moves_values(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    path = write(tmp_path / "int8.onnx", int8_graph(between), 2)

    assert prepare_graph(path, "int8").quantised == ("source/conv", "food/fc")


def test_behind_arithmetic_they_are_not(tmp_path: Path) -> None:
    path = write(tmp_path / "int8.onnx", int8_graph(("Relu",)), 2)

    with pytest.raises(EngineError, match="1 layers are quantised, expected 2"):
        prepare_graph(path, "int8")
