"""The exporter: a source and trained deltas in, one checked ONNX file out."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from snow_export.emit import EXAMPLE_BATCH, pieces_of
from snow_export.errors import ExportError
from snow_export.half_range import check_range
from snow_export.inspect.owners import FEATURES, SOURCE
from snow_export.layout import arrange
from snow_export.network import SharedNetwork, TaskHead
from snow_export.onnx_graph import check_graph, to_onnx
from snow_export.parity import (
    PARITY_TOLERANCES,
    check_parity,
    compare_exactly,
    compare_logits,
    exact_answers,
    onnx_answers,
    torch_answers,
)
from snow_runtime.files import atomic_write, writing
from snow_runtime.graph.features_entry import FeaturesEntry
from snow_runtime.graph.half_precision import to_fp16
from snow_runtime.graph.manifest import InputEntry, Manifest
from snow_runtime.graph.onnx_file import with_manifest
from snow_runtime.pictures.preprocessing import as_frame, normalise
from snow_runtime.self_check import with_self_check

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from snow_export.parity import TaskParity
    from snow_runtime.backends.batch import Batch
    from snow_runtime.graph.features_entry import TapEntry
    from snow_runtime.graph.manifest import Layout, Precision, Preprocessing, SourceEntry, TaskEntry


_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphOptions:
    """The form of a graph.

    Attributes:
        layout: `fused`, `summed` or `separate` deltas; see `layout.arrange`.
        precision: `fp32` or `fp16`; logits are float32 in both.
        input: Normalised planes, or uint8 frames that the graph normalises.
        batch: The one batch size that the graph takes; None leaves it open.
    """

    layout: Layout = "fused"
    precision: Precision = "fp32"
    input: InputEntry = field(default_factory=InputEntry)
    batch: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ExportError: The batch is not positive, or the precision is not made here.
        """
        if self.batch is not None and self.batch < 1:
            msg = f"a batch of {self.batch} is no batch; give 1 or more, or leave it open"
            raise ExportError(msg)
        if self.precision not in {"fp32", "fp16"}:
            msg = f"{self.precision} is not made at export; choose fp32 or fp16"
            raise ExportError(msg)


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    Attributes:
        source: [B, 3, S, S] to a mapping of features.
        source_entry: What the manifest says of it.
        networks: The networks by task name; not frozen yet, of any scheme.
        tasks: The manifest's entries in the order of the outputs. One called `source` asks for
            the source's own head.
        preprocessing: The way from a picture to the input; its image size is the graph's.
        pictures: [M, S, S, 3] uint8, real pictures, resized and cropped, red first: what the
            graph is compared with torch on.
        versions: Versions of the packages that make the graph.
        options: The form of the graph.
        never_fused: Tasks whose networks stay side by side in every layout.
        features: Keys of the source's pooled features that the graph gives out, in order, and what
            the manifest says of each; none gives out no features.
    """

    source: nn.Module
    source_entry: SourceEntry
    networks: Mapping[str, nn.Module]
    tasks: tuple[TaskEntry, ...]
    preprocessing: Preprocessing
    pictures: NDArray[np.uint8]
    versions: Mapping[str, str]
    options: GraphOptions = field(default_factory=GraphOptions)
    never_fused: frozenset[str] = frozenset()
    features: Mapping[str, TapEntry] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(task.name for task in self.tasks)

    def images(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Normalise pictures as training does: [M, 3, S, S] float32."""
        planes = [normalise(picture, self.preprocessing) for picture in pictures]
        return torch.from_numpy(np.stack(planes))

    def feed(self, pictures: NDArray[np.uint8]) -> Batch:
        """Prepare pictures as the graph's input has them."""
        if self.options.input.dtype == "uint8":
            return as_frame(pictures, self.options.input)
        return self.images(pictures).numpy()


def export_graph(request: ExportRequest, path: Path) -> list[TaskParity]:
    """Write one ONNX graph with every task's head; return how close it is to torch.

    The file is checked as it lies on the disk, by ONNX Runtime, and takes its name only when
    it has passed.

    Raises:
        ExportError: The request contradicts itself, torch cannot trace the network, a value
            overflows half precision, or the file cannot be written.
        ParityError: The file answers otherwise than the torch network.
    """
    content = with_self_check(*_build(request)).SerializeToString(deterministic=True)
    pictures = parity_pictures(request)
    tolerance = PARITY_TOLERANCES[request.options.precision]
    with writing(path, ExportError, "Choose another -o, or free space."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
            file.flush()
            feed = request.feed(pictures)
            answers = onnx_answers(Path(file.name), feed, request.options.batch)
            found = compare_with_trained(request, pictures, answers, tolerance)
            check_parity(found, tolerance)
    return found


def build_graph(request: ExportRequest) -> onnx.ModelProto:
    """Make the graph that a request describes, manifest included, in memory.

    Raises:
        ExportError: As for `export_graph`.
    """
    return with_manifest(*_build(request))


def _build(request: ExportRequest) -> tuple[onnx.ModelProto, Manifest]:
    if sorted(set(request.outputs) - {SOURCE}) != sorted(request.networks):
        msg = f"the manifest lists {request.outputs}, but the deltas are {list(request.networks)}"
        raise ExportError(msg)
    options = request.options
    example = request.images(request.pictures[:1]).repeat(EXAMPLE_BATCH, 1, 1, 1)
    features = request.source(example)
    given_out = tuple(request.features)
    arranged = arrange(
        request.networks, options.layout, (example, features), request.never_fused, given_out
    )
    network = SharedNetwork(request.source, arranged.heads, request.outputs, given_out)
    taps = tuple(request.features.values())
    manifest = Manifest(
        source=request.source_entry,
        preprocessing=request.preprocessing,
        tasks=request.tasks,
        layout=options.layout,
        precision=options.precision,
        input=options.input,
        versions=dict(request.versions),
        features=FeaturesEntry(FEATURES, taps) if taps else None,
    )
    model = to_onnx(network, manifest, options.batch)
    pieces = pieces_of(model)
    if pieces:
        written = ", ".join(pieces)
        _LOGGER.warning("torch.onnx writes %s, which the exporter has no rule for", written)
        manifest = replace(manifest, pieces=pieces)
    if options.precision == "fp16":
        check_range(model, request.feed(request.pictures))
        model = to_fp16(model)
        check_graph(model)
    return model, manifest


def compare_with_trained(
    request: ExportRequest,
    pictures: NDArray[np.uint8],
    answers: Mapping[str, NDArray[np.float32]],
    tolerance: float,
) -> list[TaskParity]:
    """Compare answers with the trained networks'; in float64 too where float32 does not settle it.

    Args:
        request: What was exported.
        pictures: [M, S, S, 3] uint8.
        answers: The answers about them, [M, classes] by task.
        tolerance: Largest allowed error, relative to the task's largest logit (or one).
    """
    reference = trained_answers(request, pictures)
    found = compare_logits(reference, answers)
    finite = all(math.isfinite(parity.max_error) for parity in found)
    if not finite or all(parity.is_within(tolerance) for parity in found):
        return found
    exact = exact_answers(_trained(request), request.images(pictures))
    return compare_exactly(exact, reference, answers)


def trained_answers(
    request: ExportRequest, pictures: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Run the networks as they were trained, nothing frozen or folded: [M, classes] by task."""
    return torch_answers(_trained(request), request.images(pictures))


def _trained(request: ExportRequest) -> SharedNetwork:
    heads = [TaskHead(name, delta.eval()) for name, delta in request.networks.items()]
    return SharedNetwork(request.source, heads, request.outputs, tuple(request.features))


def parity_pictures(request: ExportRequest) -> NDArray[np.uint8]:
    """Return the pictures in a number that the graph takes, other than the example's batch.

    Of a graph of one batch size that is a multiple of it; the first pictures come again.
    """
    pictures, batch = request.pictures, request.options.batch
    if batch is not None:
        return np.resize(pictures, (-(-len(pictures) // batch) * batch, *pictures.shape[1:]))
    if len(pictures) == EXAMPLE_BATCH:
        return np.concatenate([pictures, pictures[:1]])
    return pictures
