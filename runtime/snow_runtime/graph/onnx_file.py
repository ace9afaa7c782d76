"""A graph file, opened with suspicion: complete, valid, whole in its folder, as its manifest says.

Never imports torch: an exported graph can be read without it.
"""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import onnx
from onnx import helper

from snow_runtime.errors import GraphError
from snow_runtime.graph.agreement import TensorSpec, check_agreement
from snow_runtime.graph.external_data import (
    LARGEST_BYTES,
    SMALL_BYTES,
    ExternalWeights,
    find_external_weights,
    hash_with_weights,
    read_external_weights,
)
from snow_runtime.graph.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ONNX_DOMAINS: Final = frozenset({"", "ai.onnx"})
"""Both names of ONNX's own operators' domain."""
_ADVICE = "Copy it again, or export it again with 'snow-deploy export'."


@dataclass(frozen=True)
class GraphFile:
    """An ONNX file that has passed its checks.

    Attributes:
        path: The file.
        skeleton: Its content. Of the weights in other files of its folder only small ones, such
            as shapes and scales, are there: enough for all that does not compute.
        manifest: What it says about itself; None for a graph of other origin.
        inputs: What it takes; an axis left open is None.
        outputs: What it answers.
        content_sha256: SHA-256 of the file alone.
        weights: What lies in other files.
        size_bytes: Size of all files.
    """

    path: Path
    skeleton: onnx.ModelProto = field(repr=False)
    manifest: Manifest | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    content_sha256: str
    weights: tuple[ExternalWeights, ...]
    size_bytes: int

    @property
    def files(self) -> tuple[Path, ...]:
        """All that the graph consists of."""
        return (self.path, *dict.fromkeys(part.file for part in self.weights))

    @cached_property
    def sha256(self) -> str:
        """Of its content, the weights in other files included."""
        if not self.weights:
            return self.content_sha256
        try:
            return hash_with_weights(self.content_sha256, self.weights)
        except OSError as error:
            raise _unusable(self.path, str(error)) from error

    @cached_property
    def model(self) -> onnx.ModelProto:
        """Its content with all weights.

        Raises:
            GraphError: They are more than one message of protobuf's holds, or cannot be read.
        """
        if not self.weights:
            return self.skeleton
        if not self.fits_in_one:
            msg = (
                f"{self.path} and the weights beside it are {self._whole_bytes / 1e9:.2f} GB; what "
                f"was asked for needs the graph in one piece, which ends at "
                f"{LARGEST_BYTES / 1e9:.2f} GB. Export fewer tasks into one graph, or halve it "
                "with --precision fp16."
            )
            raise GraphError(msg)
        whole = onnx.ModelProto()
        whole.CopyFrom(self.skeleton)
        try:
            return read_external_weights(self.path, whole)
        except Exception as error:  # onnx has classes of its own for links and the like
            raise _unusable(self.path, str(error)) from error

    @property
    def fits_in_one(self) -> bool:
        """Whether the graph can be had in one piece, weights included."""
        return self._whole_bytes <= LARGEST_BYTES

    @property
    def _whole_bytes(self) -> int:
        return int(self.skeleton.ByteSize()) + sum(part.size_bytes for part in self.weights)

    def serialised(self) -> tuple[bytes, Path | None]:
        """Return the graph as a compiler takes it.

        Returns:
            The ONNX model, and None; or, where it is too large for one piece, the model without
            its large weights and the file beside which they lie.
        """
        if self.fits_in_one:
            return self.model.SerializeToString(), None
        return self.skeleton.SerializeToString(), self.path

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
    _check_versions(path, model)
    try:
        weights = find_external_weights(path, model)
    except (ValueError, OSError, RuntimeError) as error:
        # An offset that is no number, a name with a NUL in it, links that go round in a circle.
        raise _unusable(path, str(error)) from error
    try:
        onnx.checker.check_model(str(path))
        read_external_weights(path, model, SMALL_BYTES)
        initializers = {tensor.name for tensor in model.graph.initializer}
        inputs = _specs(value for value in model.graph.input if value.name not in initializers)
        outputs = _specs(model.graph.output)
    except Exception as error:  # onnx raises its own classes, ValueErrors and protobuf's
        raise _unusable(path, str(error)) from error
    manifest = _manifest(path, model)
    if manifest is not None:
        check_agreement(manifest, inputs, outputs)
    files = dict.fromkeys(part.file for part in weights)
    return GraphFile(
        path,
        model,
        manifest,
        inputs,
        outputs,
        hashlib.sha256(content).hexdigest(),
        weights,
        len(content) + sum(file.stat().st_size for file in files),
    )


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
        msg = f"{path} is a folder, expected an ONNX file. Name the file in it."
        raise GraphError(msg)
    try:
        size = path.stat().st_size
        if size >= 2**31:
            msg = (
                f"{path} has {size / 1e9:.2f} GB, and an ONNX file ends at 2.15 GB. Save the graph "
                "with its weights in a file beside it (onnx.save_model with "
                "save_as_external_data=True)."
            )
            raise GraphError(msg)
        return path.read_bytes()
    except FileNotFoundError as error:
        msg = f"{path} does not exist, expected an ONNX file. Check the path."
        raise GraphError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read: {error}. Check its permissions."
        raise GraphError(msg) from error


def _parse(path: Path, content: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, which onnx does not name
        raise _unusable(path, str(error)) from error
    if not model.graph.node or not model.opset_import:
        raise _unusable(path, f"no whole graph is in its {len(content)} bytes")
    return model


def _check_versions(path: Path, model: onnx.ModelProto) -> None:
    """Refuse what a newer ONNX wrote: the file may be whole, and copying it would not help."""
    operators = [item.version for item in model.opset_import if item.domain in ONNX_DOMAINS]
    opset = max(operators, default=0)
    for what, seen, known in (
        ("IR version", model.ir_version, onnx.IR_VERSION),
        ("operator set", opset, onnx.defs.onnx_opset_version()),
    ):
        if seen > known:
            msg = (
                f"{path} has {what} {seen}, and onnx {onnx.__version__}, which is installed, reads "
                f"up to {known}. Update onnx (pip install --upgrade onnx), or have the graph "
                "written for an older version by whatever made it."
            )
            raise GraphError(msg)


def _specs(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(value.name, _type(value), _shape(value)) for value in values)


def _type(value: onnx.ValueInfoProto) -> str:
    """Return a tensor's dtype; of a sequence, a map or the like, what it is."""
    kind = value.type.WhichOneof("value") or "unknown"
    if kind == "tensor_type":
        return str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    return kind.removesuffix("_type")


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Return a tensor's axes; other exporters write -1 or 0 for one that is open."""
    axes = value.type.tensor_type.shape.dim
    return tuple(axis.dim_value if axis.dim_value > 0 else None for axis in axes)


def _manifest(path: Path, model: onnx.ModelProto) -> Manifest | None:
    found = [item.value for item in model.metadata_props if item.key == METADATA_KEY]
    if len(found) > 1:
        raise _unusable(path, f"its metadata holds {len(found)} manifests")
    return Manifest.from_json(found[0]) if found else None


def _unusable(path: Path, why: str) -> GraphError:
    reason = textwrap.shorten(why, 300, placeholder=" …").rstrip(".") or "no reason given"
    return GraphError(f"{path} is no complete, valid ONNX graph: {reason}. {_ADVICE}")
