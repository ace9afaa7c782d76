"""A flat torch.fx graph as an ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import Tensor

from snow_export.emit.emitter import OPSET, Emitter
from snow_export.emit.functions import emit_call
from snow_export.emit.layers import emit_layer
from snow_export.emit.torch_onnx import emit_piece
from snow_export.errors import NoRuleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import fx

    from snow_export.network import SharedNetwork
    from snow_runtime.graph.image_size import ImageSize
    from snow_runtime.graph.manifest import InputEntry, Preprocessing

IR_VERSION = 8


def emit(
    flat: fx.GraphModule,
    network: SharedNetwork,
    entry: InputEntry,
    preprocessing: Preprocessing,
    image: Tensor,
) -> onnx.ModelProto:
    """Write a flat graph as ONNX.

    Args:
        flat: The network that `network.flatten_network` returned.
        network: The network that it was traced from; names the layers and outputs.
        entry: The one input: normalised planes, or frames that the graph normalises.
        preprocessing: The normalisation.
        image: [EXAMPLE_BATCH, 3, S, S] float32; its size becomes the graph's.

    Returns:
        A model with a dynamic batch axis called `batch`.

    Raises:
        ExportError: A layer or function has no rule, and torch.onnx cannot write it either; or it
            computes across the batch. The message names it.
    """
    emitter = Emitter(flat, network, image)
    for (
        task
    ) in network.output_names:  # torch.fx calls nodes `cat` and `add`, as a task may be called
        emitter.reserve(task)
    outputs: Sequence[fx.Node] = ()
    for node in flat.graph.nodes:
        if node.op == "placeholder":
            emitter.reserve(entry.name)
            emitter.names[node] = _emit_picture(emitter, entry, preprocessing)
        elif node.op == "output":
            outputs = node.args[0]
        elif not isinstance(emitter.examples[node], Tensor):
            continue  # sizes, and tuples that getitem takes apart
        elif node.op == "get_attr" or emitter.is_fixed(node):
            emitter.fixed.add(node)
            emitter.names[node] = emitter.constant(node.name, emitter.examples[node])
        else:
            emitter.names[node] = _emit(emitter, node)
    return _model(emitter, outputs, entry, preprocessing.image_size)


def _emit(emitter: Emitter, node: fx.Node) -> str:
    """Write a layer or call by its rule, else by torch.onnx; return its output's name."""
    begun = emitter.begin()
    try:
        if node.op == "call_module":
            return emit_layer(emitter, node, emitter.flat.get_submodule(str(node.target)))
        return emit_call(emitter, node)
    except NoRuleError as error:
        emitter.undo(begun)
        return emit_piece(emitter, node, error)


def _model(
    emitter: Emitter, outputs: Sequence[fx.Node], entry: InputEntry, image_size: ImageSize
) -> onnx.ModelProto:
    """Put the pieces together; outputs get their tasks' names."""
    renamed = {}
    declared = []
    for node, task in zip(outputs, emitter.network.output_names, strict=True):
        renamed[emitter.names[node]] = task
        shape: list[str | int | None] = ["batch", *emitter.shape(node)[1:]]
        declared.append(helper.make_tensor_value_info(task, TensorProto.FLOAT, shape))
    for item in emitter.nodes:
        for position, name in enumerate(item.output):
            item.output[position] = renamed.get(name, name)
        for position, name in enumerate(item.input):
            item.input[position] = renamed.get(name, name)
    size: list[str | int | None] = ["batch", *entry.picture_shape(image_size)]
    kind = TensorProto.UINT8 if entry.dtype == "uint8" else TensorProto.FLOAT
    read = {name for item in emitter.nodes for name in item.input}
    graph = helper.make_graph(
        emitter.nodes,
        "snow",
        [helper.make_tensor_value_info(entry.name, kind, size)],
        declared,
        [tensor for name, tensor in emitter.initializers.items() if name in read],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


def _emit_picture(emitter: Emitter, entry: InputEntry, preprocessing: Preprocessing) -> str:
    """Write what turns the input into [B, 3, S, S], normalised, red first; return its name.

    A float input is that already. Frames, uint8 [B, S, S, 3], are cast, transposed, put into
    RGB order and scaled: (x / 255 - mean) / std as one product and one sum per channel. The
    nodes are called `input/...`, and stay in float32 whatever the graph's precision.
    """
    if entry.dtype != "uint8":
        return entry.name
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    name = emitter.add("Cast", [entry.name], "input/cast", to=TensorProto.FLOAT)
    name = emitter.add("Transpose", [name], "input/planes", perm=[0, 3, 1, 2])
    if entry.colour == "bgr":
        order = emitter.constant("input/rgb.indices", np.array([2, 1, 0], np.int64))
        name = emitter.add("Gather", [name, order], "input/rgb", axis=1)
    scale = emitter.constant("input/scale", _channels(1 / (255 * std)))
    shift = emitter.constant("input/shift", _channels(-mean / std))
    scaled = emitter.add("Mul", [name, scale], "input/scaled")
    return emitter.add("Add", [scaled, shift], "input/normalised")


def _channels(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return values.astype(np.float32).reshape(1, 3, 1, 1)
