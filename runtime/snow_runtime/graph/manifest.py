"""The manifest: what a graph answers and how to feed it, as JSON inside the ONNX metadata.

Everything that a device must know travels in this one document: the tasks with their labels, the
preprocessing, and where the graph came from. Each class checks and normalises its own fields when
it is made (see :mod:`snow_runtime.graph.document`), so a manifest that exists is a valid one,
whether it was read or written here.
"""

from __future__ import annotations

import json
import reprlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from snow_runtime.errors import ManifestError
from snow_runtime.graph import field_checks
from snow_runtime.graph.confidence_entry import ConfidenceEntry
from snow_runtime.graph.data_entry import DataEntry
from snow_runtime.graph.document import Document, parse_json
from snow_runtime.graph.features_entry import FeaturesEntry, TapEntry
from snow_runtime.graph.field_checks import Positive, Sha256
from snow_runtime.graph.task_name import check_task_name
from snow_runtime.multilabel import Labelling

if TYPE_CHECKING:
    from typing_extensions import Self

Layout = Literal["separate", "fused", "summed"]
"""Deltas side by side, or merged into one network that concatenates or sums."""
Precision = Literal["fp32", "fp16", "int8"]
"""Arithmetic inside a graph; its logits are float32 in all three."""

Interpolation = Literal["bilinear", "bicubic", "lanczos", "nearest"]
"""How pictures are resized; all but the nearest are antialiased."""

METADATA_KEY: Final = "snow_deploy.manifest"
FORMAT: Final = 1
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
_LEFT_OUT: Final[dict[str, object]] = {
    "answers": "one",
    "blocks": None,
    "from_stage": None,
    "tap_selections": {},
    "confidence": None,
}
LARGEST_SIZE: Final = 16384  # pixels a side: a damaged size must not ask for all the memory


def _any_task_name(where: str, value: object) -> str:
    return check_task_name(field_checks.text(where, value), allow_source=True)


@dataclass(frozen=True)
class Preprocessing(Document):
    """How a picture becomes a tensor; see :mod:`snow_runtime.pictures.preprocessing` for the steps.

    Attributes:
        image_size: Side of the square that the network reads, in pixels.
        resize_size: Length of the short side before the centre crop, in pixels.
        mean: Mean of each RGB channel, subtracted from values in [0, 1].
        std: Standard deviation of each RGB channel, divided by; above 0.
        interpolation: How the picture is resized.
    """

    prefix: ClassVar[str] = "preprocessing."

    image_size: Annotated[int, field_checks.between(1, LARGEST_SIZE)]
    resize_size: Annotated[int, field_checks.between(1, LARGEST_SIZE)]
    mean: Annotated[tuple[float, float, float], field_checks.channel_triple]
    std: Annotated[tuple[float, float, float], field_checks.positive_triple]
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        super().__post_init__()
        place = self._place("resize_size")
        field_checks.integer(place, self.resize_size, self.image_size, LARGEST_SIZE)

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
class InputEntry(Document):
    """The graph's one input, S being the image size.

    Attributes:
        name: Name of the tensor.
        dtype: ``float32`` for normalised pictures `[B, 3, S, S]`; ``uint8`` for camera frames
            `[B, S, S, 3]`, which the graph normalises itself.
        layout: ``NCHW`` with float32, ``NHWC`` with uint8.
        colour: Order of the channels; float32 has red first.
    """

    prefix: ClassVar[str] = "input."

    name: str = "image"
    dtype: Annotated[str, field_checks.one_of("float32", "uint8")] = "float32"
    layout: str = "NCHW"
    colour: str = "rgb"

    def __post_init__(self) -> None:
        super().__post_init__()
        frames = self.dtype == "uint8"
        field_checks.choice("input.layout", self.layout, ("NHWC",) if frames else ("NCHW",))
        field_checks.choice("input.colour", self.colour, ("rgb", "bgr") if frames else ("rgb",))

    def picture_shape(self, image_size: int) -> tuple[int, int, int]:
        """Give the axes of one picture: `[3, S, S]`, or `[S, S, 3]` for frames."""
        size = image_size
        return (size, size, 3) if self.layout == "NHWC" else (3, size, size)


@dataclass(frozen=True)
class SourceEntry(Document):
    """The frozen network under all tasks: its architecture, its weights' hash and their number."""

    prefix: ClassVar[str] = "source."

    architecture: str
    sha256: Sha256
    parameters: int


@dataclass(frozen=True)
class TaskEntry(Document):
    """One task: the graph's output that answers it and what the answers mean.

    Attributes:
        name: Name that :func:`~snow_runtime.graph.task_name.check_task_name` allows.
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
        answers: ``one`` where the probabilities are a softmax over the labels, ``several`` where
            each is a sigmoid of its own logit (multi-label); graphs from before have ``one``.
        blocks: How many blocks a delta has of each stage; None for all of them, and without.
        from_stage: Stage of the source that a delta begins with, from 1 on; None for those that
            begin at the image, and without.
        tap_selections: Chosen channels by tap, ascending, where a delta's classifier reads them.
        confidence: How far its answers can be trusted; None where that was not found out, as in
            graphs from before: the temperature is then 1.
    """

    name: Annotated[str, _any_task_name]
    output: str
    labels: tuple[str, ...]
    sha256: Sha256 | None = None
    k_divisor: Positive | None = None
    width_divisor: Positive | None = None
    selections: dict[str, Annotated[tuple[int, ...], field_checks.selection]] = field(
        default_factory=dict, hash=False
    )
    metrics: dict[str, float] = field(default_factory=dict, hash=False)
    scheme: str | None = None
    data: DataEntry | None = None
    answers: Labelling = "one"
    blocks: Positive | None = None
    from_stage: Positive | None = None
    tap_selections: dict[str, Annotated[tuple[int, ...], field_checks.selection]] = field(
        default_factory=dict, hash=False
    )
    confidence: ConfidenceEntry | None = None

    @property
    def temperature(self) -> float:
        """What the logits are divided by before they become probabilities."""
        return 1.0 if self.confidence is None else self.confidence.temperature

    def check_taps(self, taps: tuple[TapEntry, ...]) -> None:
        """Check that what its training pictures look like is told by these taps.

        Raises:
            ManifestError: It is not.
        """
        if self.confidence is not None and self.confidence.familiarity is not None:
            self.confidence.familiarity.check_taps(taps)

    def _place(self, name: str) -> str:
        return "a task's name" if name == "name" else f"task {self.name!r}: {name}"


@dataclass(frozen=True)
class Quantisation(Document):
    """How a graph came to be INT8.

    Attributes:
        graph_sha256: SHA-256 of the fp32 graph's file that it was made from.
        method: How the ranges were chosen, such as ``entropy``.
        samples: How many pictures they were measured on.
        data_sha256: SHA-256 of those pictures and their names.
        rest: Precision of what is not INT8, ``fp32`` or ``fp16``.
        layers: How many convolutions and matrix products are INT8.
        kept: Names of those that are not.
    """

    prefix: ClassVar[str] = "quantisation."

    graph_sha256: Sha256
    method: str
    samples: Positive
    data_sha256: Sha256
    rest: Annotated[str, field_checks.one_of("fp32", "fp16")]
    layers: int
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class SelfCheck(Document):
    """What a graph answered about the check picture when it was written.

    See :mod:`snow_runtime.self_check`, which compares a loaded model with it.

    Attributes:
        logits: The C logits by output name, in ONNX Runtime on the CPU.
    """

    prefix: ClassVar[str] = "self_check."

    logits: dict[str, tuple[float, ...]] = field(hash=False)


@dataclass(frozen=True)
class Manifest(Document):
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
        features: The source's pooled features, where the graph gives them out; else None.
        self_check: Answers to compare with wherever the graph is loaded; None where it has none.
        format: Version of this document's format.
    """

    source: SourceEntry
    preprocessing: Preprocessing
    tasks: tuple[TaskEntry, ...]
    layout: Layout = "separate"
    precision: Precision = "fp32"
    input: InputEntry = field(default_factory=InputEntry)
    versions: dict[str, str] = field(default_factory=dict, hash=False)
    quantisation: Quantisation | None = None
    features: FeaturesEntry | None = None
    self_check: SelfCheck | None = None
    format: Annotated[int, field_checks.one_of(FORMAT)] = FORMAT

    def __post_init__(self) -> None:
        super().__post_init__()
        field_checks.unique("the list of tasks", [task.name for task in self.tasks])
        tensors = [self.input.name, *(task.output for task in self.tasks)]
        if self.features is not None:
            tensors.append(self.features.output)
            for task in self.tasks:
                task.check_taps(self.features.taps)
        field_checks.unique("the list of inputs and outputs", tensors)
        if self.self_check is not None:
            expected = {task.output: len(task.labels) for task in self.tasks}
            found = {name: len(values) for name, values in self.self_check.logits.items()}
            if found != expected:
                place = "self_check.logits by output"
                raise field_checks.refusal(place, found, str(expected))

    @property
    def outputs(self) -> dict[str, int]:
        """Width of each output by its name: the tasks' in order, then the features'."""
        found = {task.output: len(task.labels) for task in self.tasks}
        if self.features is not None:
            found[self.features.output] = self.features.width
        return found

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
        """Write the manifest as ASCII JSON; equal manifests give the same text, byte for byte.

        What is as usual is left out, since readers from before there was anything else refuse what
        they do not know: of tasks ``answers`` where it is one, ``confidence`` where there is none,
        and ``blocks``, ``from_stage`` and ``tap_selections`` of deltas of the paper's form; of
        graphs ``features`` without such an output; ``interpolation`` where it is bilinear.
        """
        document = asdict(self)
        if self.preprocessing.interpolation == "bilinear":
            del document["preprocessing"]["interpolation"]
        if self.features is None:
            del document["features"]
        for task in document["tasks"]:
            for name, usual in _LEFT_OUT.items():
                if task[name] == usual:
                    del task[name]
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what :meth:`to_json` wrote.

        Raises:
            ManifestError: Not JSON, of another format, or with a field missing, unknown or wrong.
        """
        return cls.read("the document", parse_json(text))

    @classmethod
    def read(cls, where: str, data: object) -> Self:
        """Make it from what JSON gave; see :meth:`from_json`.

        Raises:
            ManifestError: Of another format, or with a field missing, unknown or wrong.
        """
        if isinstance(data, dict) and data.get("format") != FORMAT:
            seen = reprlib.repr(data.get("format"))
            finding = f"format {seen}, expected {FORMAT}"
            msg = (
                f"The manifest has {finding}. Read it with the version of snow-deploy that "
                "exported the graph, or export it again."
            )
            raise ManifestError(msg, f"its manifest has {finding}")
        return super().read(where, data)
