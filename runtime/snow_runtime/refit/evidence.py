"""What each labelled picture was answered while it was held out, and what follows from it.

Axes: M pictures; C labels.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from snow_runtime.confidence.probabilities import to_probabilities
from snow_runtime.confidence.temperature import FEWEST_PICTURES, fit_temperature
from snow_runtime.files import atomic_write
from snow_runtime.paired_tests import most_frequent

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_ERROR: Final = 0.05
"""An interval misses as often as this."""

_DAMAGED: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    TypeError,
    NotImplementedError,
    RuntimeError,
)
"""What a damaged file of tables raises beside ValueError and KeyError."""


class Honest(NamedTuple):
    """A share of right answers on pictures drawn at random, each held out.

    Attributes:
        accuracy: The share, 0 to 1.
        low: Lower end of the interval of 95 %.
        high: Upper end.
        pictures: How many there are.
        moments: How many moments these are of, which is what they count for.
    """

    accuracy: float
    low: float
    high: float
    pictures: int
    moments: int


@dataclass(frozen=True, eq=False)
class HeldOutEvidence:
    """Answers about labelled pictures by fits that had no part of them.

    Attributes:
        ids: int64 `[M]`, the collection's numbers of the pictures.
        labels: The C labels.
        targets: int64 `[M]`, which label is right; or bool `[M, C]` where several may be.
        logits: float32 `[M, C]`.
        moments: int64 `[M]`, which pictures tell much the same.
        random: bool `[M]`, which ones were drawn at random from all that the cameras gave.
        copies: Numbers of pictures that are copies or nearly.
        split: Labels whose pictures are all of one moment or two.
    """

    ids: NDArray[np.int64]
    labels: tuple[str, ...]
    targets: NDArray[np.int64] | NDArray[np.bool_]
    logits: NDArray[np.float32]
    moments: NDArray[np.int64]
    random: NDArray[np.bool_]
    copies: tuple[tuple[int, ...], ...] = field(default=())
    split: tuple[str, ...] = field(default=())

    @property
    def several(self) -> bool:
        """Whether several labels may be right."""
        return self.targets.ndim == 2

    @property
    def wrong(self) -> NDArray[np.int64]:
        """How many labels of each picture are answered wrongly, int64 `[M]`."""
        return wrong_labels(self.logits, self.targets)

    @property
    def right(self) -> NDArray[np.float64]:
        """What share of each picture's labels is right, float64 `[M]`."""
        return 1 - self.wrong / (len(self.labels) if self.several else 1)

    def probabilities(self) -> NDArray[np.float64]:
        """Give calibrated probabilities, float64 `[M, C]`."""
        answers = "several" if self.several else "one"
        heat = 1.0
        if len(self.logits) >= FEWEST_PICTURES:
            heat = fit_temperature(self.logits, self.targets)
        return np.asarray(to_probabilities(self.logits, answers, heat), np.float64)  # type: ignore[arg-type]

    def honest(self) -> Honest | None:
        """Give the share of right answers on the random pictures; None where none is labelled."""
        rows = self.random
        if not rows.any():
            return None
        moments = len(np.unique(self.moments[rows]))
        share = float(self.right[rows].mean())
        return Honest(share, *exact_interval(share, moments), int(rows.sum()), moments)

    def write(self, path: Path) -> None:
        """Write a file, whole or not at all."""
        said = json.dumps({"labels": self.labels, "copies": self.copies, "split": self.split})
        with atomic_write(path) as stream:
            np.savez(
                stream,
                ids=self.ids,
                targets=self.targets,
                logits=self.logits,
                moments=self.moments,
                random=self.random,
                said=np.frombuffer(said.encode(), np.uint8),
            )

    @classmethod
    def read(cls, path: Path) -> HeldOutEvidence:
        """Read what :meth:`write` wrote.

        Raises:
            OSError, ValueError, KeyError: It is missing or damaged.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
                said: dict[str, Any] = json.loads(table["said"].tobytes())
                return cls(
                    table["ids"],
                    tuple(said["labels"]),
                    table["targets"],
                    table["logits"],
                    table["moments"],
                    table["random"],
                    tuple(map(tuple, said["copies"])),
                    tuple(said["split"]),
                )
        except _DAMAGED as error:
            raise ValueError(str(error)) from error


def exact_interval(share: float, count: float, error: float = _ERROR) -> tuple[float, float]:
    """Give an exact interval of a share (Clopper and Pearson, 1934).

    Where frames are alike, `count` is the number of moments and not that of frames, as Korn and
    Graubard (Survey Methodology 24, 1998) have it for clusters: that is the widest that it may get.

    Args:
        share: Share seen, 0 to 1.
        count: How many independent pictures it is of; need not be whole.
        error: How often the interval misses, half on each side at most.
    """
    seen = share * count
    low = 1 - most_frequent(count - seen, count, error / 2)
    return max(0.0, low), most_frequent(seen, count, error / 2)


def wrong_labels(
    logits: NDArray[np.float32], targets: NDArray[np.int64] | NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Count the labels of each picture that logits `[M, C]` answer wrongly, int64 `[M]`."""
    if targets.ndim == 2:
        return np.asarray(((logits > 0) != targets).sum(axis=1), np.int64)
    return np.asarray(logits.argmax(axis=1) != targets, np.int64)


def confusion(evidence: HeldOutEvidence) -> dict[str, dict[str, list[int]]]:
    """Tell which pictures are behind each cell: by the right label, by the answer, their numbers.

    Where several labels may be right, a label has two rows of its own, `yes` and `no`.
    """
    labels, ids = evidence.labels, evidence.ids
    if not evidence.several:
        answers = evidence.logits.argmax(axis=1)
        return {
            right: {
                answered: ids[(evidence.targets == row) & (answers == column)].tolist()
                for column, answered in enumerate(labels)
            }
            for row, right in enumerate(labels)
        }
    found: dict[str, dict[str, list[int]]] = {}
    for column, label in enumerate(labels):
        yes, said = evidence.targets[:, column], evidence.logits[:, column] > 0
        for name, rows in ((label, yes), (f"not {label}", ~yes)):
            found[name] = {
                label: ids[rows & said].tolist(),
                f"not {label}": ids[rows & ~said].tolist(),
            }
    return found
