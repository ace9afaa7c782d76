"""The manifest: what a graph answers and how to feed it, as JSON inside the ONNX metadata.

Everything that a device must know travels in this one document: the tasks with their labels, the
preprocessing, and where the graph came from. Each class checks and normalises its own fields when
it is made, so a manifest that exists is a valid one, whether it was read or written here.
"""

from __future__ import annotations

import json
import re
import reprlib
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from snow_runtime.errors import ManifestError
from snow_runtime.graph import field_checks
from snow_runtime.graph.data_entry import DataEntry, read_data

Layout = Literal["separate", "fused", "summed"]
"""Deltas side by side, or merged into one network that concatenates or sums."""
Precision = Literal["fp32", "fp16", "int8"]
"""Arithmetic inside a graph; its logits are float32 in all three."""

METADATA_KEY: Final = "snow_deploy.manifest"
FORMAT: Final = 1
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
LARGEST_SIZE: Final = 16384  # pixels a side: a damaged size must not ask for all the memory

_TAKEN: Final = {"image": "the graph's input", "input": "what prepares it inside the graph"}
_TASK_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def check_task_name(name: str, *, allow_source: bool = False) -> str:
    """Give back ``name`` if a task may be called so: it names files, outputs and options.

    Args:
        name: A lower-case letter, then up to 63 of ``a-z 0-9 _ -``; not ``image``, the input.
        allow_source: Whether ``source`` may be used, which is kept for the source's own head.

    Raises:
        ManifestError: It may not.
    """
    if not _TASK_NAME.fullmatch(name):
        msg = (
            f"A task cannot be called {reprlib.repr(name)}: expected a lower-case letter, then up "
            "to 63 lower-case letters, digits, '_' or '-'. Choose another name."
        )
        raise ManifestError(msg)
    if name in _TAKEN or (name == "source" and not allow_source):
        meaning = _TAKEN.get(name, "the source's own head")
        msg = (
            f"A task cannot be called {name!r}: expected a name of its own, and that one stands "
            f"for {meaning}. Choose another name."
        )
        raise ManifestError(msg)
    return name


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a tensor; see :mod:`snow_runtime.pictures.preprocessing` for the steps.

    Attributes:
        image_size: Side of the square that the network reads, in pixels.
        resize_size: Length of the short side before the centre crop, in pixels.
        mean: Mean of each RGB channel, subtracted from values in [0, 1].
        std: Standard deviation of each RGB channel, divided by; above 0.

    Raises:
        ManifestError: A field has the wrong type or range.
    """

    image_size: int
    resize_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        where = "preprocessing"
        size = field_checks.integer(f"{where}.image_size", self.image_size, 1, LARGEST_SIZE)
        resized = field_checks.integer(f"{where}.resize_size", self.resize_size, size, LARGEST_SIZE)
        mean = field_checks.channel_triple(f"{where}.mean", self.mean)
        std = field_checks.channel_triple(f"{where}.std", self.std)
        if min(std) <= 0:
            msg = f"{where}.std"
            raise field_checks.refusal(msg, self.std, "numbers above 0")
        _normalise(self, image_size=size, resize_size=resized, mean=mean, std=std)

    @classmethod
    def for_size(
        cls,
        image_size: int,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> Preprocessing:
        """Keep ImageNet's proportion of resizing to cropping: 256 to 224."""
        return cls(image_size, round(image_size * 256 / 224), mean, std)


@dataclass(frozen=True)
class InputEntry:
    """The graph's one input, S being the image size.

    Attributes:
        name: Name of the tensor.
        dtype: ``float32`` for normalised pictures `[B, 3, S, S]`; ``uint8`` for camera frames
            `[B, S, S, 3]`, which the graph normalises itself.
        layout: ``NCHW`` with float32, ``NHWC`` with uint8.
        colour: Order of the channels; float32 has red first.

    Raises:
        ManifestError: A field has the wrong type or value, or two contradict each other.
    """

    name: str = "image"
    dtype: str = "float32"
    layout: str = "NCHW"
    colour: str = "rgb"

    def __post_init__(self) -> None:
        field_checks.text("input.name", self.name)
        field_checks.choice("input.dtype", self.dtype, ("float32", "uint8"))
        frames = self.dtype == "uint8"
        field_checks.choice("input.layout", self.layout, ("NHWC",) if frames else ("NCHW",))
        field_checks.choice("input.colour", self.colour, ("rgb", "bgr") if frames else ("rgb",))

    def picture_shape(self, image_size: int) -> tuple[int, int, int]:
        """Give the axes of one picture: `[3, S, S]`, or `[S, S, 3]` for frames."""
        size = image_size
        return (size, size, 3) if self.layout == "NHWC" else (3, size, size)


@dataclass(frozen=True)
class SourceEntry:
    """The frozen network under all tasks: its architecture, its weights' hash and their number."""

    architecture: str
    sha256: str
    parameters: int

    def __post_init__(self) -> None:
        field_checks.text("source.architecture", self.architecture)
        field_checks.sha256("source.sha256", self.sha256)
        _normalise(self, parameters=field_checks.integer("source.parameters", self.parameters))


@dataclass(frozen=True)
class TaskEntry:
    """One task: the graph's output that answers it and what the answers mean.

    Attributes:
        name: Name of the task, as :func:`check_task_name` allows it.
        output: Name of the graph's output, logits `[B, C]` with C = ``len(labels)``.
        labels: What each of the C logits stands for; two may be spelt alike, as in ImageNet.
        sha256: SHA-256 of the task's own weights; None for the source's own head.
        k_divisor: N/K, channels of a source tensor over those subscribed; None without.
        width_divisor: The source's widths over the delta's; None without.
        selections: Chosen source channels by subscription, ascending.
        metrics: Figures measured when the task was trained, such as accuracies in [0, 1].
        scheme: ``snow``, or the scheme compared with it that the network is of; None for the
            source's own head, and in graphs from before there were several.
        data: Which pictures it was trained and measured on, as hashes; None for the source's own
            head, and in graphs from before it was noted.

    Raises:
        ManifestError: A field has the wrong type or range.
    """

    name: str
    output: str
    labels: tuple[str, ...]
    sha256: str | None = None
    k_divisor: int | None = None
    width_divisor: int | None = None
    selections: dict[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    metrics: dict[str, float] = field(default_factory=dict, hash=False)
    scheme: str | None = None
    data: DataEntry | None = None

    def __post_init__(self) -> None:
        check_task_name(field_checks.text("a task's name", self.name), allow_source=True)
        where = f"task {self.name!r}: "
        field_checks.text(f"{where}output", self.output)
        if self.sha256 is not None:
            field_checks.sha256(f"{where}sha256", self.sha256)
        if self.scheme is not None:
            field_checks.text(f"{where}scheme", self.scheme)
        for name in ("k_divisor", "width_divisor"):
            if getattr(self, name) is not None:
                _normalise(
                    self, **{name: field_checks.integer(where + name, getattr(self, name), 1)}
                )
        labels = field_checks.items(f"{where}labels", self.labels)
        _normalise(
            self,
            labels=tuple(field_checks.text(f"{where}a label", label) for label in labels),
            selections=field_checks.table(
                f"{where}selections", self.selections, field_checks.selection
            ),
            metrics=field_checks.table(f"{where}metrics", self.metrics, field_checks.number),
        )


@dataclass(frozen=True)
class Quantisation:
    """How a graph came to be INT8.

    Attributes:
        graph_sha256: SHA-256 of the fp32 graph's file that it was made from.
        method: How the ranges were chosen, such as ``entropy``.
        samples: How many pictures they were measured on.
        data_sha256: SHA-256 of those pictures and their names.
        rest: Precision of what is not INT8, ``fp32`` or ``fp16``.
        layers: How many convolutions and matrix products are INT8.
        kept: Names of those that are not.

    Raises:
        ManifestError: A field has the wrong type or range.
    """

    graph_sha256: str
    method: str
    samples: int
    data_sha256: str
    rest: str
    layers: int
    kept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = "quantisation"
        field_checks.sha256(f"{where}.graph_sha256", self.graph_sha256)
        field_checks.sha256(f"{where}.data_sha256", self.data_sha256)
        field_checks.text(f"{where}.method", self.method)
        field_checks.choice(f"{where}.rest", self.rest, ("fp32", "fp16"))
        kept = () if self.kept in ((), []) else field_checks.items(f"{where}.kept", self.kept)
        _normalise(
            self,
            samples=field_checks.integer(f"{where}.samples", self.samples, 1),
            layers=field_checks.integer(f"{where}.layers", self.layers),
            kept=tuple(field_checks.text(f"{where}.kept", name) for name in kept),
        )


@dataclass(frozen=True)
class SelfCheck:
    """What a graph answered about the check picture when it was written.

    See :mod:`snow_runtime.self_check`, which compares a loaded model with it.

    Attributes:
        logits: The C logits by output name, in ONNX Runtime on the CPU.

    Raises:
        ManifestError: A field has the wrong type.
    """

    logits: dict[str, tuple[float, ...]] = field(hash=False)

    def __post_init__(self) -> None:
        _normalise(self, logits=field_checks.table("self_check.logits", self.logits, _numbers))


@dataclass(frozen=True)
class Manifest:
    """What a graph is.

    Attributes:
        source: The network under all tasks.
        preprocessing: The way from a picture to the input.
        tasks: Tasks in the order in which results list them; names and outputs are unique.
        layout: Deltas side by side, or merged into one grouped network.
        precision: Precision of the arithmetic inside the graph; its logits stay float32.
        input: The graph's input.
        versions: Versions of the packages that made the graph, by package name.
        quantisation: How it came to be INT8; None for a graph in floating point.
        self_check: Answers to compare with wherever the graph is loaded; None where it has none.
        format: Version of this document's format.

    Raises:
        ManifestError: A field has the wrong type or range.
    """

    source: SourceEntry
    preprocessing: Preprocessing
    tasks: tuple[TaskEntry, ...]
    layout: Layout = "separate"
    precision: Precision = "fp32"
    input: InputEntry = field(default_factory=InputEntry)
    versions: dict[str, str] = field(default_factory=dict, hash=False)
    quantisation: Quantisation | None = None
    self_check: SelfCheck | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        field_checks.choice("format", self.format, (FORMAT,))
        field_checks.choice("layout", self.layout, get_args(Layout))
        field_checks.choice("precision", self.precision, ("fp32", "fp16", "int8"))
        _normalise(
            self,
            tasks=tuple(field_checks.items("tasks", self.tasks)),
            versions=field_checks.table("versions", self.versions, field_checks.text),
        )
        field_checks.unique("the list of tasks", [task.name for task in self.tasks])
        tensors = [self.input.name, *(task.output for task in self.tasks)]
        field_checks.unique("the list of inputs and outputs", tensors)
        if self.self_check is not None:
            expected = {task.output: len(task.labels) for task in self.tasks}
            found = {name: len(values) for name, values in self.self_check.logits.items()}
            if found != expected:
                msg = "self_check.logits by output"
                raise field_checks.refusal(msg, found, str(expected))

    def task(self, name: str) -> TaskEntry:
        """Give the task of this name.

        Raises:
            ManifestError: There is none.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        known = ", ".join(task.name for task in self.tasks)
        msg = (
            f"The graph has no task {name!r}: expected one of {known}. Ask for one of those, or "
            "export a graph with that task in it."
        )
        raise ManifestError(msg)

    def to_json(self) -> str:
        """Write the manifest as ASCII JSON; equal manifests give the same text, byte for byte."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what :meth:`to_json` wrote.

        Raises:
            ManifestError: Not JSON, of another format, or with a field missing, unknown or wrong.
        """
        data = _parse(text)
        parts = dict(field_checks.members(cls, "the document", data))
        parts["source"] = field_checks.build(SourceEntry, "source", parts["source"])
        parts["preprocessing"] = field_checks.build(
            Preprocessing, "preprocessing", parts["preprocessing"]
        )
        parts["tasks"] = tuple(
            _read_task(f"tasks[{index}]", task)
            for index, task in enumerate(field_checks.items("tasks", parts["tasks"]))
        )
        if "input" in parts:
            parts["input"] = field_checks.build(InputEntry, "input", parts["input"])
        if parts.get("quantisation") is not None:
            parts["quantisation"] = field_checks.build(
                Quantisation, "quantisation", parts["quantisation"]
            )
        if parts.get("self_check") is not None:
            parts["self_check"] = field_checks.build(SelfCheck, "self_check", parts["self_check"])
        return cls(**parts)


def _read_task(where: str, value: object) -> TaskEntry:
    parts = dict(field_checks.members(TaskEntry, where, value))
    parts["data"] = read_data(f"{where}.data", parts.get("data"))
    return TaskEntry(**parts)


def _numbers(where: str, value: object) -> tuple[float, ...]:
    return tuple(field_checks.number(where, each) for each in field_checks.items(where, value))


def _parse(text: str) -> object:
    """Read JSON of the format that this version knows."""
    try:
        data = json.loads(text, object_pairs_hook=_table_without_repetition)
    except (ValueError, RecursionError) as error:
        msg = f"The manifest cannot be read: expected JSON, but {error}. {field_checks.ADVICE}"
        raise ManifestError(msg) from error
    if isinstance(data, dict) and data.get("format") != FORMAT:
        msg = (
            f"The manifest has format {reprlib.repr(data.get('format'))}, expected {FORMAT}. Read "
            "it with the version of snow-deploy that exported the graph, or export it again."
        )
        raise ManifestError(msg)
    return data


def _table_without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a table that says two things under one name: JSON leaves open which one counts."""
    field_checks.unique("the list of names in a table", [name for name, _ in pairs])
    return dict(pairs)


def _normalise(entry: object, **values: object) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(entry, name, value)
