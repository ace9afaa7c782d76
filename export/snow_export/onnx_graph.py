"""From a shared network to an ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import torch

from snow_export.emit import EXAMPLE_BATCH, emit
from snow_export.errors import ExportError
from snow_export.network import flatten_network
from snow_export.trace.fold import fold_norms
from snow_export.trace.join_means import join_means
from snow_export.trace.join_sums import join_sums
from snow_runtime.graph.image_size import height_width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_export.network import SharedNetwork
    from snow_runtime.graph.manifest import Manifest


_LARGEST_BYTES = 2**31 - 2**24
"""Of the weights; protobuf's messages end at 2 GiB, and the graph itself takes its share."""


def to_onnx(
    network: SharedNetwork, manifest: Manifest, batch: int | None = None
) -> onnx.ModelProto:
    """Write a network as one ONNX graph in float32.

    Args:
        network: Deltas frozen; its BatchNorms are folded in place.
        manifest: Names the input, its type and size, and the normalisation.
        batch: The one batch size that the graph takes; None leaves it open.

    Returns:
        A model with input `image`, [batch, 3, S, S] float32 or [batch, S, S, 3] uint8, and one
        output [batch, classes] float32 per task.

    Raises:
        ExportError: The network cannot be traced, holds a layer without a rule, or the graph is
            not valid ONNX.
    """
    height, width = height_width(manifest.preprocessing.image_size)
    device = next(network.source.parameters()).device
    image = torch.zeros(EXAMPLE_BATCH, 3, height, width, device=device)
    flat = fold_norms(flatten_network(network))
    join_means(flat, image)
    join_sums(flat)
    model = emit(flat, network, manifest.input, manifest.preprocessing, image)
    if batch is not None:
        _fix_batch(model, batch)
    check_graph(model)
    return model


def _fix_batch(model: onnx.ModelProto, batch: int) -> None:
    """Make the batch axis a number in every input and output."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch


def check_graph(model: onnx.ModelProto) -> None:
    """Check that a graph is valid, and that nothing in it is random or sorts weights.

    Raises:
        ExportError: It is not; the message names the operator. Or it is too large for one file.
    """
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size > _LARGEST_BYTES:
        msg = (
            f"the graph's weights are {size / 1e9:.2f} GB, and an ONNX file ends at 2.1 GB. Export "
            "fewer tasks into one graph, or with --layout separate, whose weights are the least."
        )
        raise ExportError(msg)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        msg = f"the exported graph is not valid ONNX: {error}"
        raise ExportError(msg) from error
    unwanted = set(_sorted_weights(model))
    unwanted |= {node.op_type for node in model.graph.node if node.op_type.startswith("Random")}
    if unwanted:
        msg = (
            f"the exported graph holds {', '.join(sorted(unwanted))}, which freezing should have "
            "removed; freeze every delta before exporting it"
        )
        raise ExportError(msg)


def _sorted_weights(model: onnx.ModelProto) -> Iterator[str]:
    """Yield what sorts numbers that do not depend on the picture, such as a pooling's weights."""
    of_picture = {value.name for value in model.graph.input}
    for node in model.graph.node:
        if of_picture.intersection(node.input):
            of_picture.update(node.output)
        elif node.op_type == "TopK":
            yield node.op_type
