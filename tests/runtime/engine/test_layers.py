from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.engine.layers import CompiledLayer, parse_inspection, parse_line, parse_log

# Lines of TensorRT-RTX 1.7's own log, shortened.
CONVOLUTION = (
    "Name: food+birds/conv1_U9_myl0_4, LayerType: correlation, Inputs: [ { Name: x, Dimensions: "
    "[1,4,224,224], Datatype: Half, Format: (NHWC) Channel major format }], Constants: [ { Name: "
    "w, Dimensions: [64,4,7,7], Strides: [196,1,28,4], Datatype: Int8 }, { Name: b, Dimensions: "
    "[1,64,1,1], Datatype: Half }], Outputs: [ { Name: source/maxpool.1_5_myl0, Dimensions: "
    "[1,64,112,112], Datatype: Float, Format: (NHWC) Channel major format }], TacticName: "
    "__myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: food+birds/conv1][ONNX Layer: "
    "food+birds/relu#2][ONNX Layer: food+birds/conv1]__gemm_from_conv1x1"
)
SIGNAL = (
    "Name: entry^bb^signal^2_myl0_0, LayerType: signal, Inputs: [], Constants: [], Outputs: [], "
    "TacticName: , StreamId: 0, EventId: 60, Metadata: "
)
GATHER = (
    "Name: __myl_Gath_0, LayerType: kgen, Inputs: [ { Name: x, Dimensions: [1,256,56,56], "
    "Datatype: Half }], Constants: [ { Name: i, Dimensions: [4096], Datatype: Int32 }, { Name: s, "
    "Dimensions: [1,32,1,1], Datatype: Half }], Outputs: [ { Name: y, Dimensions: [1,32,56,56], "
    "Datatype: Half }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: food/gather]"
)
# The examples of NVIDIA's documentation: the engine inspector, and migrating its use to 11.x.
TEN = {
    "Name": "res4_0_branch2a_1 + res4_0_branch2a_bn_2",
    "LayerType": "CaskConvolution",
    "Inputs": [
        {
            "Name": "res3_3_branch2c_bn_3",
            "Dimensions": [16, 512, 28, 28],
            "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format.",
        }
    ],
    "Outputs": [
        {
            "Name": "res4_0_branch2a_bn_2",
            "Dimensions": [16, 256, 28, 28],
            "Format/Datatype": "Row major linear FP16 format",
        }
    ],
    "ParameterType": "Convolution",
    "Weights": {"Type": "Int8", "Count": 131072},
    "Bias": {"Type": "Float", "Count": 256},
}
ELEVEN = {
    "Name": "fused",
    "LayerType": "gemm",
    "Inputs": [{"Name": "x", "Dimensions": [1, 64], "Datatype": "Half", "Format": "Row major"}],
    "Constants": [
        {"Name": "i", "Dimensions": [999999], "Datatype": "Int32", "Format": "Row major"},
        {"Name": "w", "Dimensions": [64, 10], "Datatype": "Half", "Format": "Row major"},
    ],
    "Outputs": [{"Name": "y", "Dimensions": [1, 10], "Datatype": "Float", "Format": "Row major"}],
    "Metadata": "[ONNX Layer: food/fc]\u001e[ONNX Layer: cast]",
}


def test_a_layer_of_the_log() -> None:
    assert parse_line(CONVOLUTION) == CompiledLayer(
        "food+birds/conv1_U9_myl0_4",
        "correlation",
        "Float",
        ("Half",),
        "Int8",
        64 * 4 * 7 * 7,
        ("food+birds/conv1", "food+birds/relu#2"),
    )
    assert parse_line(SIGNAL) == CompiledLayer("entry^bb^signal^2_myl0_0", "signal")


def test_indices_are_no_weights() -> None:
    layer = parse_line(GATHER)

    assert layer is not None
    assert (layer.weights, layer.weight_count) == ("Half", 32)


@pytest.mark.parametrize("line", ["", "Layers:", "Adding 1 engine(s) to plan file."])
def test_other_lines_are_no_layers(line: str) -> None:
    assert parse_line(line) is None


@given(st.text())
def test_any_line_can_be_read(line: str) -> None:
    layers = parse_log([line, f"Name: {line}, LayerType: kgen, {line}"])

    assert len(layers) <= 2
    assert all(isinstance(layer, CompiledLayer) for layer in layers)


def test_the_inspector_of_tensorrt_10() -> None:
    (layer,) = parse_inspection(json.dumps({"Layers": [TEN], "Bindings": ["x", "y"]}))

    assert layer == CompiledLayer(
        "res4_0_branch2a_1 + res4_0_branch2a_bn_2",
        "CaskConvolution",
        "Half",
        ("Int8",),
        "Int8",
        131072,
        ("res4_0_branch2a_1", "res4_0_branch2a_bn_2"),
    )


def test_the_inspector_of_tensorrt_11() -> None:
    (layer,) = parse_inspection(json.dumps({"Layers": [ELEVEN], "I/O Tensors": [{"Name": "x"}]}))

    assert layer == CompiledLayer(
        "fused", "gemm", "Float", ("Half",), "Half", 640, ("food/fc", "cast")
    )


def test_layers_that_are_only_named() -> None:
    (layer,) = parse_inspection('{"Layers": ["conv1 + relu"]}')

    assert (layer.nodes, layer.weights) == (("conv1", "relu"), "")
