"""A graph file, opened with suspicion: complete, valid, whole in its folder, as its manifest says.

Never imports torch: an exported graph can be read without it.
"""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from onnx import helper
from onnx.external_data_helper import (
    ExternalDataInfo,
    load_external_data_for_model,
    uses_external_data,
)

from snow_runtime.agreement import TensorSpec, check_agreement
from snow_runtime.errors import GraphError
from snow_runtime.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_ADVICE = "Copy it again, or export it again with 'snow-deploy export'."


@dataclass(frozen=True)
class GraphFile:
    """An ONNX file that has passed its checks.

    Attributes:
        path: The file.
        model: Its content, with weights that lay in other files of its folder loaded.
        manifest: What it says about itself; None for a graph of other origin.
        inputs: What it takes; an axis left open is None.
        outputs: What it answers.
        sha256: Of its content, the weights in other files included.
        files: All that it was read from.
    """

    path: Path
    model: onnx.ModelProto
    manifest: Manifest | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sha256: str
    files: tuple[Path, ...]

    @property
    def tasks(self) -> tuple[str, ...] | None:
        """Names of the manifest's tasks; None without one."""
        return None if self.manifest is None else tuple(task.name for task in self.manifest.tasks)


def read_graph(path: Path) -> GraphFile:
    """Read and check an ONNX file.

    Raises:
        GraphError: It is missing, damaged or no valid ONNX, or keeps weights outside its folder.
        ManifestError: Its manifest is malformed, or contradicts the graph.
    """
    content = _content(path)
    model = _parse(path, content)
    try:
        others = _check_external_data(path, model)
    except (ValueError, OSError) as error:  # an offset that is no number, a name with a NUL in it
        raise _unusable(path, str(error)) from error
    try:
        onnx.checker.check_model(str(path))
        load_external_data_for_model(model, str(path.parent))
        initializers = {tensor.name for tensor in model.graph.initializer}
        inputs = _specs(value for value in model.graph.input if value.name not in initializers)
        outputs = _specs(model.graph.output)
    except Exception as error:  # onnx raises its own classes, ValueErrors and protobuf's
        raise _unusable(path, str(error)) from error
    manifest = _manifest(path, model)
    if manifest is not None:
        check_agreement(manifest, inputs, outputs)
    digest = hashlib.sha256(content)
    if others:
        digest.update(model.SerializeToString(deterministic=True))
    return GraphFile(path, model, manifest, inputs, outputs, digest.hexdigest(), (path, *others))


def with_manifest(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """Put the manifest into a graph's metadata and return the graph."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, manifest.to_json()
    model.producer_name = "snow-deploy"
    model.producer_version = manifest.versions.get("snow_deploy", "")
    return model


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise GraphError(f"{path} is a folder, expected an ONNX file. Name the file in it.")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise GraphError(
            f"{path} does not exist, expected an ONNX file. Check the path."
        ) from error
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error}. Check its permissions.") from error


def _parse(path: Path, content: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, which onnx does not name
        raise _unusable(path, str(error)) from error
    if not model.graph.node or not model.opset_import:
        raise _unusable(path, f"no whole graph is in its {len(content)} bytes")
    return model


def _check_external_data(path: Path, model: onnx.ModelProto) -> tuple[Path, ...]:
    """Refuse weights elsewhere than in the graph's own folder, and files too short for them.

    Returns:
        The files beside the graph that hold weights.
    """
    folder = path.parent.resolve()
    found: dict[Path, None] = {}
    for tensor in _tensors(model.graph):
        if not uses_external_data(tensor):
            continue
        data = ExternalDataInfo(tensor)
        target = (folder / data.location).resolve()
        if not target.is_relative_to(folder) or target == folder:
            raise GraphError(
                f"{path} keeps the weights of {tensor.name!r} in {data.location!r}, outside its "
                f"own folder; only files in {folder} are read. Move them there and save the "
                "graph anew, or save it as one file."
            )
        needed = (data.offset or 0) + (data.length or 0)
        size = target.stat().st_size if target.is_file() else None
        if size is None or size < needed:
            seen = "does not exist" if size is None else f"has {size} bytes"
            raise GraphError(
                f"{path} keeps the weights of {tensor.name!r} in {data.location!r}, which {seen}, "
                f"expected {needed} bytes or more. Copy both files again."
            )
        found[target] = None
    return tuple(found)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield every constant of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _specs(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            value.name,
            str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            tuple(
                axis.dim_value if axis.HasField("dim_value") else None
                for axis in value.type.tensor_type.shape.dim
            ),
        )
        for value in values
    )


def _manifest(path: Path, model: onnx.ModelProto) -> Manifest | None:
    found = [item.value for item in model.metadata_props if item.key == METADATA_KEY]
    if len(found) > 1:
        raise _unusable(path, f"its metadata holds {len(found)} manifests")
    return Manifest.from_json(found[0]) if found else None


def _unusable(path: Path, why: str) -> GraphError:
    reason = textwrap.shorten(why, 300, placeholder=" …").rstrip(".") or "no reason given"
    return GraphError(f"{path} is no complete, valid ONNX graph: {reason}. {_ADVICE}")
