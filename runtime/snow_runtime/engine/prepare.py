"""A graph file made ready for a build: read, checked, and in the precision asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from snow_runtime.errors import EngineError, GraphError, MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from snow_runtime.graph.manifest import Manifest, Precision
    from snow_runtime.graph.onnx_file import GraphFile


@dataclass(frozen=True)
class PreparedGraph:
    """A graph that is ready to be compiled.

    Attributes:
        content: The ONNX model, serialised, in `manifest.precision`.
        beside: Where the weights lie that are too many for `content`: beside this file. None where
            they are all in it.
        manifest: The graph's own, with that precision.
        sha256: SHA-256 of the file that it was read from.
        batch: What the graph fixes it to; None where it takes any.
        quantised: Names of an INT8 graph's layers whose inputs are quantised; None for other
            graphs.
        files: All that the graph was read from.
    """

    content: bytes = field(repr=False)
    beside: Path | None
    manifest: Manifest
    sha256: str
    batch: int | None
    quantised: tuple[str, ...] | None
    files: tuple[Path, ...]


def prepare_graph(path: Path, precision: Precision | None) -> PreparedGraph:
    """Read a graph and make it what was asked for: fp32 becomes fp16, INT8 has to be there.

    Args:
        path: The ONNX file.
        precision: Precision to prepare it in; None takes the graph as it is.

    Raises:
        GraphError: The file is missing, damaged, carries no manifest, or is too large to be halved.
        HalfError: A weight is too large for half precision.
        EngineError: The graph cannot be had in that precision.
        MissingDependencyError: The package onnx is not installed.
    """
    file = _read(path)
    manifest = file.manifest
    if manifest is None:
        msg = (
            f"{path} carries no manifest, expected a graph made by 'snow-deploy export' or "
            "'snow-deploy calibrate': an engine could not say what its outputs mean. Make it with "
            "one of them; trtexec builds other graphs."
        )
        raise GraphError(msg)
    beside = None
    wanted = precision or manifest.precision
    if wanted != manifest.precision:
        if (manifest.precision, wanted) != ("fp32", "fp16"):
            raise EngineError(_other_precision(path, manifest.precision, wanted))
        from snow_runtime.graph.half_precision import to_fp16

        content = to_fp16(file.model).SerializeToString()
        manifest = replace(manifest, precision="fp16")
    else:
        content, beside = file.serialised()
    return PreparedGraph(
        content,
        beside,
        manifest,
        file.sha256,
        file.inputs[0].shape[0],
        _quantised(path, file.skeleton, manifest) if manifest.precision == "int8" else None,
        file.files,
    )


def _quantised(path: Path, model: onnx.ModelProto, manifest: Manifest) -> tuple[str, ...]:
    """Name the layers that compute in INT8, as many as the manifest says."""
    from snow_runtime.graph.quantised import QuantisedGraph

    found = QuantisedGraph(model.graph).layers()
    said = manifest.quantisation.layers if manifest.quantisation else None
    if not found or said not in (None, len(found)):
        msg = (
            f"{path} says that it is INT8, and {len(found)} layers are quantised, expected "
            f"{'some' if said is None else said}. Make it anew with 'snow-deploy calibrate'."
        )
        raise EngineError(msg)
    return found


def _read(path: Path) -> GraphFile:
    try:
        from snow_runtime.graph.onnx_file import read_graph
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        msg = "Engines are built from ONNX graphs, and onnx is not installed; run: pip install onnx"
        raise MissingDependencyError(msg) from error
    return read_graph(path)


def _other_precision(path: Path, has: Precision, wanted: Precision) -> str:
    if wanted == "int8":
        advice = "Make an INT8 graph first: 'snow-deploy calibrate', which measures what it costs."
    elif has == "int8":
        advice = "Give --int8, or the graph that it was calibrated from."
    else:
        advice = "Give --fp16, or export the graph with --precision fp32."
    return f"{path} is {has}, and {wanted} was asked for. {advice}"
