"""The arithmetic inside a graph made half precision, its logits left float."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from snow_runtime.errors import HalfError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


FP16_LARGEST = 65504.0
"""The largest finite half."""
HEADROOM = 2.0
"""How much further than on a few pictures a value may reach on others."""
_ADVICE = (
    "Export with --precision fp32, or train the task with a recipe that keeps its activations "
    "small (--recipe steady)."
)
INPUT_SCOPE = "input/"
"""Nodes and constants under this prefix normalise the picture; they stay in float32."""
_HALVED = "input:half"  # no task can be called so


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that computes in half precision; inputs and outputs keep their types.

    One cast behind the normalised picture, one before each output (before the split of a fused
    classifier, so that all its outputs share one). The pooled mean of a tap is taken in float:
    rounding does not add up over the pixels, and TensorRT then makes one layer of it that else
    makes two. Every operator that the exporter writes has a half form; a resizing's scales stay
    float, as ONNX asks for them.

    Raises:
        HalfError: A weight is too large for a half; the message names it.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    sizes = {
        name for node in half.graph.node if node.op_type == "Resize" for name in node.input[1:3]
    }
    for tensor in half.graph.initializer:
        stays = tensor.name.startswith(INPUT_SCOPE) or tensor.name in sizes
        if tensor.data_type == TensorProto.FLOAT and not stays:
            value = numpy_helper.to_array(tensor)
            check_half(tensor.name, value)
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), tensor.name))
    nodes = list(half.graph.node)
    head = [node for node in nodes if node.name.startswith(INPUT_SCOPE)]
    body = [node for node in nodes if not node.name.startswith(INPUT_SCOPE)]
    for node in body:
        _halve_constants(node)
    picture = head[-1].output[0] if head else half.graph.input[0].name
    _rename(body, {picture: _HALVED})
    first = helper.make_node("Cast", [picture], [_HALVED], name=_HALVED, to=TensorProto.FLOAT16)
    del half.graph.node[:]
    half.graph.node.extend([*head, first, *_with_float_outputs(half, _with_float_means(body))])
    return half


def _halve_constants(node: onnx.NodeProto) -> None:
    """Make half what a node makes of itself: constants, and casts to float.

    Raises:
        HalfError: A constant is too large for a half; the message names it.
    """
    for attribute in node.attribute:
        if attribute.name == "to" and node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        tensor = attribute.t
        makes = node.op_type in {"Constant", "ConstantOfShape"} and attribute.name == "value"
        if makes and tensor.data_type == TensorProto.FLOAT:
            value = numpy_helper.to_array(tensor)
            check_half(node.name, value)
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16)))


def _with_float_means(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Cast before and behind each mean of a map that the network goes on with: of a tap.

    The mean that a network ends with stays half: TensorRT would run its classifier in float.
    """
    flattened = {node.input[0] for node in nodes if node.op_type == "Flatten"}
    readers = Counter(name for node in nodes for name in node.input)
    joined = {node.output[0]: list(node.input) for node in nodes if node.op_type == "Concat"}
    cast: list[onnx.NodeProto] = []
    for node in nodes:
        maps = joined.get(node.input[0], [node.input[0]]) if node.input else []
        ends = not any(readers[name] > 1 for name in maps)
        if node.op_type != "GlobalAveragePool" or node.output[0] not in flattened or ends:
            cast.append(node)
            continue
        read, made = node.input[0], node.output[0]
        node.input[0], node.output[0] = f"{made}/float", f"{made}/mean"
        back = helper.make_node(
            "Cast", [node.output[0]], [made], name=f"{made}/half", to=TensorProto.FLOAT16
        )
        cast += [_cast(read, node.input[0]), node, back]
    return cast


def _with_float_outputs(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]
) -> list[onnx.NodeProto]:
    """Cast what the graph returns back to float32."""
    outputs = {output.name for output in model.graph.output}
    cast: list[onnx.NodeProto] = []
    for node in nodes:
        returned = [name for name in node.output if name in outputs]
        if node.op_type == "Split" and len(returned) == len(node.output):
            cast.append(_cast(node.input[0], f"{node.name}/float"))
            node.input[0] = cast[-1].output[0]
            cast.append(node)
            continue
        cast.append(node)
        for name in returned:  # other nodes go on reading the half
            _rename(nodes, {name: f"{name}/half"})
            cast.append(_cast(f"{name}/half", name))
    return cast


def _cast(name: str, to: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [to], name=to, to=TensorProto.FLOAT)


def _rename(nodes: Sequence[onnx.NodeProto], names: Mapping[str, str]) -> None:
    for node in nodes:
        for values in (node.input, node.output):
            for position, name in enumerate(values):
                values[position] = names.get(name, name)


def check_half(name: str, value: NDArray[np.float32]) -> None:
    """Refuse a weight that half precision cannot hold.

    Raises:
        HalfError: It is beyond the largest half, or NaN.
    """
    largest = _largest(value)
    if not largest <= FP16_LARGEST:
        msg = (
            f"{name} reaches {largest:.3g}, and half precision ends at {FP16_LARGEST:.0f}. "
            f"{_ADVICE}"
        )
        raise HalfError(msg)


def check_half_on_pictures(name: str, value: NDArray[np.float32]) -> None:
    """Refuse a value on a few pictures from which half precision's limit is not far.

    Raises:
        HalfError: It is beyond the largest half over `HEADROOM`, or NaN.
    """
    largest = _largest(value)
    if not largest <= FP16_LARGEST / HEADROOM:
        msg = (
            f"{name} reaches {largest:.3g} on the pictures at hand, and half precision ends at "
            f"{FP16_LARGEST:.0f}: expected {FP16_LARGEST / HEADROOM:.0f} at most, for other "
            f"pictures may reach further. {_ADVICE}"
        )
        raise HalfError(msg)


def _largest(value: NDArray[np.float32]) -> float:
    return float(np.abs(value).max()) if value.size else 0.0
