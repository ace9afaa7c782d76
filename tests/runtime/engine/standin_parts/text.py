"""How the versions of TensorRT list the layers of an engine.

10.3 stands for engines of hand-written kernels, whose tensors have a format that says the type in a
sentence; 10.16 for engines of the compiler backend, whose tensors have a type in place of a format;
11 gives both apart. TensorRT-RTX writes what 11 gives, without JSON's punctuation, to its log.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.runtime.engine.standin_parts.graph import Compiled, Tensor

Style = Literal["sentence", "word", "apart"]
STYLES: Final[dict[str, Style]] = {
    "tensorrt-10.3": "sentence",
    "tensorrt-10.16": "word",
    "tensorrt-11.4": "apart",
    "tensorrt-rtx-1.7": "apart",
}
_SENTENCES: Final = {
    "Float": "Row major linear FP32",
    "Half": "Channel major FP16 format where channel % 8 == 0",
    "Int8": "Thirty-two wide channel vectorized row major Int8 format",
    "UInt8": "Row major linear UInt8 format",
}
_LINEAR: Final = {"Float": "FP32", "Half": "FP16"}
_KINDS: Final = {"Conv": "correlation", "Gemm": "runtime_fusion", "MatMul": "gemm"}
_CASK: Final = {
    "Conv": ("CaskConvolution", "Convolution"),
    "Gemm": ("CaskGemmMatrixMultiply", "MatrixMultiply"),
    "MatMul": ("CaskGemmMatrixMultiply", "MatrixMultiply"),
    "Move": ("Reformat", "Reformat"),
}


def layer_to_dict(layer: Compiled, index: int, style: Style) -> dict[str, Any]:
    """Give a layer as TensorRT's JSON has it with detailed profiling verbosity."""
    metadata = [f"[ONNX Layer: {it}]" for it in layer.nodes]
    if style == "sentence":
        kind, parameters = _CASK.get(layer.kind, ("PointWiseV2", "PointWise"))
        name = " + ".join(layer.nodes) or "Reformatting CopyNode for Input Tensor 0"
        result = _tensors(layer, style) | {"ParameterType": parameters}
        if layer.multiplies and layer.constants:
            weights = layer.constants[0]
            result["Weights"] = {"Type": weights.dtype, "Count": layer.weight_count}
        result |= {"TacticName": "", "StreamId": 0, "Metadata": "\x1e".join(metadata)}
        return {"Name": name, "LayerType": kind, **result}
    kind = _KINDS.get(layer.kind, "signal" if layer.kind == "signal" else "kgen")
    stem = layer.name if layer.kind == "Conv" else f"__myl_{layer.kind}"
    return {
        "Name": f"{stem}_myl0_{index}",
        "LayerType": kind,
        **_tensors(layer, style),
        "TacticName": "",
        "StreamId": 0,
        "Metadata": "\x1f".join(metadata),
    }


def _tensors(layer: Compiled, style: Style) -> dict[str, Any]:
    sections = {"Inputs": layer.inputs, "Constants": layer.constants, "Outputs": layer.outputs}
    if style == "sentence":
        del sections["Constants"]
    return {key: [_tensor(it, style) for it in found] for key, found in sections.items()}


def _tensor(tensor: Tensor, style: Style) -> dict[str, Any]:
    result: dict[str, Any] = {"Name": tensor.name}
    if style == "sentence":
        result |= {"Location": "Device", "Dimensions": list(tensor.shape)}
        return result | {"Format/Datatype": _SENTENCES.get(tensor.dtype, tensor.dtype)}
    result["Dimensions"] = list(tensor.shape)
    if style == "word":
        return result | {"Format/Datatype": tensor.dtype}
    return result | {"Datatype": tensor.dtype, "Format": "(NHWC) Channel major format"}


def io_to_dict(tensor: Tensor, mode: str, shapes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Give an input or output as TensorRT 11's JSON has it."""
    names = ("MinShape", "OptShape", "MaxShape") if shapes else ()
    profile: dict[str, Any] = {it: list(shape) for it, shape in zip(names, shapes, strict=True)}
    word = _LINEAR.get(tensor.dtype, tensor.dtype.upper())
    profile["Format"] = f"Row major linear {word} format (kLINEAR)"
    return {
        "Name": tensor.name,
        "IOMode": mode,
        "DataType": tensor.dtype,
        "Dimensions": list(tensor.shape),
        "Location": "Device",
        "IsShapeInferenceIO": False,
        "ProfileInfo": [profile],
    }


def engine_to_json(
    layers: Sequence[dict[str, Any] | str], io: Sequence[dict[str, Any]], style: Style
) -> str:
    document: dict[str, Any] = {"Layers": list(layers)}
    if style == "apart":
        document |= {"I/O Tensors": list(io), "Engine Metadata": {"Multi-Device": "Disabled"}}
    else:
        document["Bindings"] = [it["Name"] for it in io]
    return json.dumps(document)


def engine_to_lines(layers: Sequence[dict[str, Any] | str], io: Sequence[dict[str, Any]]) -> str:
    """Give the list as TensorRT-RTX logs it: one message of many lines."""
    lines = [it if isinstance(it, str) else _line(it) for it in layers]
    lines = ["Layers:", *lines, "", "I/O Tensors:", *(f" {_line(it)}" for it in io)]
    return "\n".join([*lines, "", "Engine Metadata:", " Multi-Device: Disabled"])


def _line(fields: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {_value(value)}" for key, value in fields.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, list):
        return str(value)
    if value and isinstance(value[0], dict):
        inner = ", ".join("{ " + _line(it) + " }" for it in value)
        return f"[ {inner}]"
    return f"[{','.join(str(it) for it in value)}]"
