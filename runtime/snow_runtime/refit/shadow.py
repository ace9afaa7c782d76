"""Versions that answer beside the live ones, unheard, and how often they would say otherwise."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_runtime.results import PRESENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from snow_runtime.collection.records import CollectionQuestion
    from snow_runtime.readout.file import ReadoutFile
    from snow_runtime.results import TaskResult

_ARROW: Final = " → "
_MOST_PAIRS: Final = 100
OTHERS: Final = "others"
"""What answers that differ count as where there are too many kinds of them."""


@dataclass
class _Beside:
    """A version in the shadow."""

    question: CollectionQuestion
    readout: ReadoutFile
    agreed: int = 0
    differed: Counter[str] = field(default_factory=Counter)


class Shadows:
    """The versions in the shadow; any thread may ask and tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._beside: dict[str, _Beside] = {}

    def begin(
        self,
        question: CollectionQuestion,
        readout: ReadoutFile,
        agreed: int = 0,
        differed: Mapping[str, int] | None = None,
    ) -> None:
        """Let a version answer beside the live one; it may have done so in an earlier process."""
        with self._lock:
            beside = _Beside(question, readout, agreed, Counter(differed or {}))
            self._beside = {**self._beside, question.name: beside}

    def end(self, question: str) -> None:
        """Let none answer any more."""
        with self._lock:
            self._beside = {name: each for name, each in self._beside.items() if name != question}

    def counts(self, question: str) -> tuple[int, dict[str, int]]:
        """Give how many answers were the same, and which ones were not, how often."""
        with self._lock:
            beside = self._beside.get(question)
            return (0, {}) if beside is None else (beside.agreed, dict(beside.differed))

    def saw(
        self,
        camera: str,
        view: str,
        features: NDArray[np.float32],
        answers: Mapping[str, TaskResult],
    ) -> None:
        """Take what the live versions answered about a picture.

        Args:
            camera: Name of the camera.
            view: Name of the view, "" for the whole picture.
            features: The picture's features, float32 `[F]`.
            answers: The answers by task.
        """
        for name, beside in self._beside.items():  # exchanged as a whole, never changed
            if name not in answers or not is_about(beside.question, camera, view):
                continue
            said = _said(beside.readout, features)
            heard = answers[name]
            live = heard.label if heard.answers == "one" else _present(heard)
            with self._lock:
                if said == live:
                    beside.agreed += 1
                    continue
                pair = f"{live}{_ARROW}{said}"
                if pair not in beside.differed and len(beside.differed) >= _MOST_PAIRS:
                    pair = OTHERS
                beside.differed[pair] += 1


def is_about(question: CollectionQuestion, camera: str, view: str) -> bool:
    """Tell whether a question is about a view of a camera."""
    return question.camera in {None, camera} and (question.view or "") == view


def _said(readout: ReadoutFile, features: NDArray[np.float32]) -> str:
    logits = readout.logits(features[np.newaxis])[0]
    if readout.facts.task.answers == "one":
        return readout.labels[int(logits.argmax())]
    chosen = np.flatnonzero(logits >= 0)
    return ", ".join(sorted(readout.labels[row] for row in chosen)) or "none"


def _present(heard: TaskResult) -> str:
    chosen = np.flatnonzero(np.asarray(heard.probabilities) >= PRESENT)
    return ", ".join(sorted(heard.labels[row] for row in chosen)) or "none"
