"""What a question's live readout says of stored features, without running the network."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from snow_runtime.confidence.probabilities import to_probabilities
from snow_runtime.errors import SnowError
from snow_runtime.readout.file import ReadoutFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_runtime.app.labelling.refitting import Refitting
    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectedPicture, CollectionQuestion


class LiveReadouts:
    """Reads readouts as they go live.

    Args:
        collection: The pictures, with the folder of the versions.
        refit: What fits readouts; None where nothing does.
    """

    def __init__(self, collection: Collection, refit: Refitting | None) -> None:
        self._collection = collection
        self._refit = refit
        self._read: dict[str, tuple[tuple[int, str], ReadoutFile | None]] = {}
        self._lock = threading.Lock()

    def say(
        self, question: CollectionQuestion, pictures: Sequence[CollectedPicture], source: str
    ) -> NDArray[np.float32] | None:
        """Give probabilities of the question's labels.

        Args:
            question: The question.
            pictures: The pictures.
            source: SHA-256 of the source whose features are looked at.

        Returns:
            float32 `[M, C]`, NaN where a picture has no such features; None where no readout is
            live, or it has other labels.
        """
        readout = self._live(question.name)
        if readout is None or readout.facts.source.sha256 != source:
            return None
        if set(readout.labels) - set(question.labels):
            return None
        rows = [
            row
            for row, each in enumerate(pictures)
            if each.features_width and each.source_sha256 == source
        ]
        found = np.full((len(pictures), len(question.labels)), np.nan, np.float32)
        if rows:
            features = self._collection.features([pictures[row].id for row in rows])
            if features.shape[1] <= int(readout.index.max(initial=0)):
                return None
            task = readout.facts.task
            logits = readout.logits(features.astype(np.float32))
            columns = [question.labels.index(label) for label in readout.labels]
            found[rows] = 0  # of a class that is newer than the readout
            found[np.ix_(rows, columns)] = to_probabilities(logits, task.answers, task.temperature)
        return found

    def _live(self, question: str) -> ReadoutFile | None:
        if self._refit is None:
            return None
        try:
            versions = self._refit.versions(question)
        except SnowError:  # the Model tab says so
            return None
        live = next((each for each in versions if each.state == "live"), None)
        if live is None:
            return None
        key = live.number, getattr(live, "sha256", "")  # a question asked anew begins at 1 again
        with self._lock:
            kept = self._read.get(question)
            if kept is None or kept[0] != key:
                kept = (key, _read(self._path(question, live.number)))
                self._read[question] = kept
            return kept[1]

    def _path(self, question: str, number: int) -> Path:
        return self._collection.folder / "versions" / question / f"{number:04}.readout"


def _read(path: Path) -> ReadoutFile | None:
    try:
        return ReadoutFile.read(path)
    except SnowError:  # whoever put it onto the model has said so
        return None
