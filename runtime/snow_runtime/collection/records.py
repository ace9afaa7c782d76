"""What a collection holds: pictures, questions about them, and labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

Reason = Literal["random", "unknown", "unsure", "changed", "unlike", "imported"]
"""Why a picture was kept: a random sample; the answer was unknown, or near a threshold; a state
changed; it is unlike those kept; somebody brought it."""
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

GivenLabel = str | tuple[str, ...] | None
"""A label, or several where several may be right, () for none of them; None where skipped."""


@dataclass(frozen=True, eq=False)
class NewPicture:
    """A picture to keep.

    Attributes:
        jpeg: The picture as a JPEG file.
        camera: Name of the camera.
        view: Name of the view that it shows, "" for the whole picture.
        taken_at: Time when it was captured, in seconds since 1970 (UTC).
        reason: Why it is kept.
        features: The source's pooled features, float16 `[F]`; None where they are not kept.
        source_sha256: SHA-256 of the source that made the features; "" where there are none.
        model_sha256: SHA-256 of the graph that answered; "" where none did.
        answers: What was answered, by question or task, as :meth:`TaskAnswer.to_dict` gives it.
        novelty: How unlike the pictures kept before it is, 0 or more; the least go first.
    """

    jpeg: bytes
    camera: str
    view: str = ""
    taken_at: float = 0.0
    reason: Reason = "imported"
    features: NDArray[np.float16] | None = None
    source_sha256: str = ""
    model_sha256: str = ""
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    novelty: float = 0.0


@dataclass(frozen=True)
class CollectedPicture:
    """A picture that is kept.

    Attributes:
        id: Number, never given twice in one collection, and growing.
        sha256: SHA-256 of the JPEG file.
        camera: Name of the camera.
        view: Name of the view that it shows, "" for the whole picture.
        taken_at: Time when it was captured, in seconds since 1970 (UTC).
        reason: Why it was kept.
        source_sha256: SHA-256 of the source that made its features.
        model_sha256: SHA-256 of the graph that answered.
        answers: What was answered then, by question or task.
        width: Width in pixels.
        height: Height in pixels.
        features_width: F, the number of its features; None where none are kept.
    """

    id: int
    sha256: str
    camera: str
    view: str
    taken_at: float
    reason: Reason
    source_sha256: str
    model_sha256: str
    answers: Mapping[str, Mapping[str, Any]]
    width: int
    height: int
    features_width: int | None


@dataclass(frozen=True)
class CollectionQuestion:
    """A question about pictures.

    Attributes:
        name: Name, as of a task.
        labels: Its classes in order.
        camera: The camera whose pictures it is about; None for all cameras.
        view: Name of the view that it is about; None, like "", for the whole picture.
        several: Whether several labels may be right at once.
    """

    name: str
    labels: tuple[str, ...]
    camera: str | None = None
    view: str | None = None
    several: bool = False


@dataclass(frozen=True)
class UndoneLabels:
    """What was taken back.

    Attributes:
        entry: Number of the journal's entry.
        ids: Pictures that it labelled.
        label: The label that it gave them.
        at: Time when it was given, in seconds since 1970 (UTC).
    """

    entry: int
    ids: tuple[int, ...]
    label: GivenLabel
    at: float


@dataclass(frozen=True)
class LabelCounts:
    """How many pictures a question has.

    Attributes:
        pictures: Pictures that it is about.
        labelled: Those with a label.
        skipped: Those that somebody passed over.
        by_label: Those with each label.
        random: Those kept as a random sample.
        random_labelled: Labelled ones of these.
    """

    pictures: int
    labelled: int
    skipped: int
    by_label: dict[str, int]
    random: int
    random_labelled: int
