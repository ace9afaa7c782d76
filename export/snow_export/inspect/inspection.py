"""What a file of the toolchain holds, as one document; equal in form for graphs and stores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from snow_runtime.graph.agreement import TensorSpec
    from snow_runtime.graph.features_entry import FeaturesEntry
    from snow_runtime.graph.manifest import (
        InputEntry,
        Layout,
        Precision,
        Preprocessing,
        Quantisation,
        SourceEntry,
        TaskEntry,
    )
    from snow_runtime.readout.facts import FitEntry

InspectionKind = Literal["graph", "engine", "readout", "store", "task", "source"]


@dataclass(frozen=True)
class OwnerShare:
    """What one owner adds: the source, a task, or `a+b+c` for fused deltas.

    Attributes:
        owner: Name of the owner.
        parameters: Number of parameters: in a graph after folding; in a store as trained,
            BatchNorm's included.
        macs: Multiply-adds of one picture; None where the source is not at hand.
        image_size: Side of that picture, in pixels.
    """

    owner: str
    parameters: int
    macs: int | None
    image_size: int


@dataclass(frozen=True)
class GraphFacts:
    """What only a graph has: its layout, precision and tensors."""

    layout: Layout
    precision: Precision
    input: InputEntry
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    nodes: int
    quantisation: Quantisation | None = None


@dataclass(frozen=True)
class EngineFacts:
    """What only an engine has: what built it, for what, and what it became."""

    built_by: str
    built_on: str
    built_at: str
    graph: str
    graph_sha256: str
    layout: Layout
    options: dict[str, Any] = field(hash=False)
    inputs: dict[str, Any] = field(hash=False)
    achieved: dict[str, Any] = field(hash=False)
    compute_layers: int
    build_s: float


@dataclass(frozen=True)
class TrainingFacts:
    """What only a store knows of a task: its source, its recipe, and its held-out samples."""

    source_sha256: str
    options: dict[str, Any] = field(hash=False)
    samples: int


@dataclass(frozen=True)
class Inspection:
    """What a file or a store holds.

    Attributes:
        kind: Kind of what was inspected.
        path: Path of the file or folder.
        size_bytes: Size of the file in bytes; of a store, its source and tasks without the runs.
        sha256: SHA-256 of the file; None for a store.
        source: The frozen network; None where a task file lies in no store.
        tasks: Tasks in the graph's order, a store's by name.
        preprocessing: Preprocessing by task.
        shares: Parameters and multiply-adds by owner.
        graph: Facts that only a graph has.
        engine: Facts that only an engine has.
        features: The source's pooled features, where a graph or an engine gives them out.
        fit: How a readout was fitted.
        training: Facts about the training by task, for a store.
        source_origin: Where the source came from, for a store.
        versions: Versions of the packages that made a graph.
        notes: What could not be found out, and why.
    """

    kind: InspectionKind
    path: str
    size_bytes: int
    sha256: str | None
    source: SourceEntry | None
    tasks: tuple[TaskEntry, ...]
    preprocessing: dict[str, Preprocessing] = field(hash=False)
    shares: tuple[OwnerShare, ...]
    graph: GraphFacts | None = None
    engine: EngineFacts | None = None
    features: FeaturesEntry | None = None
    fit: FitEntry | None = None
    training: dict[str, TrainingFacts] = field(default_factory=dict, hash=False)
    source_origin: str | None = None
    versions: dict[str, str] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, selections and labels in full; no base64 of a familiarity."""
        document = asdict(self)
        for task in document["tasks"]:
            if task["confidence"] and task["confidence"]["familiarity"]:
                del task["confidence"]["familiarity"]["space"]
        return document
