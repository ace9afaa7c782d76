"""What a readout's file says of itself, beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, ClassVar, Final

from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document
from snow_runtime.graph.features_entry import TapEntry
from snow_runtime.graph.field_checks import Positive
from snow_runtime.graph.manifest import Precision, Preprocessing, SourceEntry, TaskEntry
from snow_runtime.graph.task_name import check_task_name

FORMAT: Final = 1


@dataclass(frozen=True)
class FitEntry(Document):
    """How a readout was fitted.

    Attributes:
        pictures: How many pictures it was fitted on.
        counts: How many of them show each label, in the order of the labels; None where that was
            not noted, as of a store's readouts.
        accuracy: Share of right answers in cross-validation on those pictures, in [0, 1]; of
            (picture, label) pairs where several labels may be right.
        standard_error: Standard error of that share.
        penalty: Strength of the regularisation that was chosen.
    """

    prefix: ClassVar[str] = "fit."

    pictures: Positive
    counts: tuple[int, ...] | None
    accuracy: Annotated[float, field_checks.magnitude]
    standard_error: Annotated[float, field_checks.magnitude]
    penalty: Annotated[float, field_checks.magnitude]


@dataclass(frozen=True)
class ReadoutFacts(Document):
    """What a readout is.

    Attributes:
        task: Its name, its C labels, and by tap the channels whose means it reads.
        source: The network whose features it reads.
        preprocessing: The way from a picture to that network's input.
        taps: All taps of the graph that it was fitted on, in the order of its features.
        precision: Precision of that graph.
        check_logits: Its C logits about the check picture, on that graph's features.
        fit: How it was fitted.
        versions: Versions of the packages that fitted it, by package name.
        format: Version of this document's format.

    Raises:
        ManifestError: A field has the wrong type or range, or contradicts another one.
    """

    task: TaskEntry
    source: SourceEntry
    preprocessing: Preprocessing
    taps: tuple[TapEntry, ...]
    precision: Precision
    check_logits: tuple[float, ...]
    fit: FitEntry
    versions: dict[str, str] = field(default_factory=dict, hash=False)
    format: Annotated[int, field_checks.one_of(FORMAT)] = FORMAT

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task_name(self.task.name)
        field_checks.unique("the list of taps", [tap.name for tap in self.taps])
        count = len(self.task.labels)
        for name, values in (("check_logits", self.check_logits), ("fit.counts", self.fit.counts)):
            if values is not None and len(values) != count:
                raise field_checks.refusal(name, values, f"one for each of {count} labels")
        self.task.check_taps(self.taps)
        channels = {tap.name: tap.channels for tap in self.taps}
        for tap, chosen in self.task.selections.items():
            place = f"task.selections[{tap!r}]"
            if tap not in channels:
                raise field_checks.refusal(place, chosen, f"one of the taps {', '.join(channels)}")
            if chosen[-1] >= channels[tap]:
                raise field_checks.refusal(place, chosen, f"channels below {channels[tap]}")
        if not self.task.selections:
            place = "task.selections"
            raise field_checks.refusal(place, self.task.selections, "one tap or more")

    def to_json(self) -> str:
        """Write the facts as ASCII JSON, without what is not there and older readers refuse."""
        document = asdict(self)
        if self.task.confidence is None:
            del document["task"]["confidence"]
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
