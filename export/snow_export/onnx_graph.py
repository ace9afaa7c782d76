"""From a torch network to an ONNX model with a manifest in its metadata."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx
import torch

from snow_export.errors import ExportError
from snow_runtime.manifest import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_export.network import SharedNetwork
    from snow_runtime.manifest import Manifest

OPSET = 18
EXPORT_BATCH = 2
"""Batch of the example that the network is traced with; parity is checked at another."""


def to_onnx(network: SharedNetwork, manifest: Manifest) -> onnx.ModelProto:
    """Trace a network into one ONNX graph.

    Args:
        network: In eval mode; deltas frozen.
        manifest: Names the input, its size and the outputs; travels in the metadata.

    Returns:
        A model with input `image` [batch, 3, S, S] float32, the batch dynamic, and one output
        [batch, classes] float32 per task.

    Raises:
        ExportError: torch cannot trace the network, or the graph is not valid ONNX.
    """
    size = manifest.preprocessing.image_size
    device = next(network.buffers()).device
    example = torch.zeros(EXPORT_BATCH, 3, size, size, device=device)
    try:
        with _quiet():
            program = torch.onnx.export(
                network.eval(),
                (example,),
                input_names=[manifest.input.name],
                output_names=[task.output for task in manifest.tasks],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        msg = (
            f"torch could not export the network: {error}. Train with a source that torch.export "
            "can trace, or report this with the store's architecture."
        )
        raise ExportError(msg) from error
    if program is None:  # pragma: no cover - dynamo=True always returns a program
        msg = "torch.onnx.export returned no program"
        raise ExportError(msg)
    model = program.model_proto
    _strip(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, manifest.to_json()
    model.producer_name = "snow-deploy"
    model.producer_version = manifest.versions.get("snow_deploy", "")
    check_graph(model)
    return model


def check_graph(model: onnx.ModelProto) -> None:
    """Check that a graph is valid, and that nothing in it is random or sorts at run time.

    Raises:
        ExportError: It is not; the message names the operator.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        msg = f"the exported graph is not valid ONNX: {error}"
        raise ExportError(msg) from error
    operators = {node.op_type for node in model.graph.node}
    unwanted = {name for name in operators if name == "TopK" or name.startswith("Random")}
    if unwanted:
        msg = (
            f"the exported graph holds {', '.join(sorted(unwanted))}, which freezing should have "
            "removed; freeze every delta before exporting it"
        )
        raise ExportError(msg)


def _strip(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes (Python stack traces and paths) from every node and value."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    for item in (*model.graph.node, *values, *model.graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and deprecation notes off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
