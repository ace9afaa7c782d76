"""From a collection to what is fitted: the labelled pictures of a question, with features.

Pictures whose features are of another source, or that have none, are looked at anew by the model at
work, one at a time between its frames. Axes: M pictures; F features; C labels.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.errors import CollectionError, FitError, InputError
from snow_runtime.readout.checks import FEWEST_A_CLASS
from snow_runtime.readout.evaluate import check_features, features_of
from snow_runtime.refit.groups import Taken
from snow_runtime.refit.job import FitJob
from snow_runtime.refit.versions import data_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectedPicture, CollectionQuestion
    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.swap import SwappableModel

    Given = str | tuple[str, ...]

_ALL: Final = 1 << 40
_KEPT_BYTES: Final = 128 << 20  # of features that the collection does not keep
_RANDOM: Final = "random"
_IMPORTED: Final = "imported"


class Looking:
    """What the model at work sees of pictures that have no features of its source yet.

    Args:
        model: The model.
        ending: What is set when nothing is to be waited for any more; None for nothing.
    """

    def __init__(self, model: SwappableModel, ending: threading.Event | None = None) -> None:
        self._model = model
        self._ending = ending or threading.Event()
        self._known: OrderedDict[tuple[str, str], NDArray[np.float16]] = OrderedDict()
        self._check: tuple[Manifest, NDArray[np.float32]] | None = None

    def facts(self) -> tuple[Manifest, NDArray[np.float32]]:
        """Give what the graph is, and its features of the check picture.

        Raises:
            ReadoutError: The graph gives out no features.
            GraphError: The model is closed.
        """
        with self._model.held() as present:
            if self._check is None or self._check[0] is not present.manifest:
                found = check_features(present.session, present.manifest)
                self._check = present.manifest, found
            return self._check

    def features(self, source_sha256: str, sha256: str, jpeg: Callable[[], bytes]) -> Any:
        """Give a picture's features, float16 `[F]`; None where they are not finite or it is broken.

        Args:
            source_sha256: SHA-256 of the source.
            sha256: SHA-256 of the picture.
            jpeg: Function that reads it.

        Raises:
            FitError: It is to end, or a model on another source is at work by now.
        """
        from PIL import Image

        key = source_sha256, sha256
        if key not in self._known:
            if self._ending.is_set():
                msg = "The fit was ended before all its pictures were looked at. Begin it again."
                raise FitError(msg)
            try:
                with Image.open(io.BytesIO(jpeg())) as image, self._model.held() as present:
                    if present.manifest.source.sha256 != source_sha256:
                        msg = (
                            "The model was exchanged for one on another source while its pictures "
                            "were looked at. The fit begins again."
                        )
                        raise FitError(msg)
                    row = present.features([image.convert("RGB")])[0]
            except (InputError, CollectionError, OSError):
                return None
            with np.errstate(over="ignore"):
                self._known[key] = row.astype(np.float16)
        found = self._known[key]
        self._known.move_to_end(key)
        while len(self._known) * found.nbytes > _KEPT_BYTES:
            self._known.popitem(last=False)
        return found if np.isfinite(found).all() else None


@dataclass(frozen=True, eq=False)
class Gathered:
    """What a question's readout is to be fitted on.

    Attributes:
        revision: Revision of the labels.
        job: The fit; None where there is too little.
        lacking: What there is too little of.
        data_sha256: SHA-256 of the pictures' hashes and labels.
        counts: How many pictures show each label.
        remarks: What a user should know, a sentence each.
    """

    revision: int
    job: FitJob | None = None
    lacking: str = ""
    data_sha256: str = ""
    counts: Mapping[str, int] | None = None
    remarks: tuple[str, ...] = ()


def gather_fit(
    collection: Collection, question: CollectionQuestion, looking: Looking, memory_bytes: int = 0
) -> Gathered:
    """Put together what a question's readout is fitted on.

    Args:
        collection: The collection.
        question: The question.
        looking: What gives features that are missing.
        memory_bytes: Largest memory of the fit; 0: no bound.

    Raises:
        CollectionError: The collection cannot be read.
        ReadoutError: The graph gives out no features.
    """
    revision = collection.revision(question.name)
    labels = collection.labels(question.name)
    classes, lacking = _classes(question, labels)
    if lacking:
        return Gathered(revision, lacking=lacking)
    kept = {number: label for number, label in labels.items() if _within(label, classes)}
    pictures = collection.pictures(question.name, labelled=True, limit=_ALL)
    pictures = [each for each in pictures if each.id in kept]
    manifest, check = looking.facts()
    pictures, rows, broken = _rows(collection, pictures, looking, manifest)
    usable = {each.id: kept[each.id] for each in pictures}
    again, lacking = _classes(question, usable)
    if lacking or again != classes:
        lacking = lacking or "Pictures of a class cannot be read."
        return Gathered(revision, lacking=lacking)
    targets = _targets([usable[each.id] for each in pictures], classes, several=question.several)
    job = FitJob(
        question.name,
        classes,
        targets,
        np.array([each.id for each in pictures], np.int64),
        rows,
        _taken(pictures),
        np.array([each.reason == _RANDOM for each in pictures], np.bool_),
        check,
        manifest,
        memory_bytes,
    )
    by_hash: dict[str, object] = {
        each.sha256: [usable[each.id]] if isinstance(usable[each.id], str) else usable[each.id]
        for each in pictures
    }
    return Gathered(
        revision,
        job,
        "",
        data_hash(by_hash, classes, manifest.source.sha256),
        _counts(list(usable.values()), classes),
        _remarks(question, labels, classes, broken),
    )


def _classes(
    question: CollectionQuestion, labels: Mapping[int, Given]
) -> tuple[tuple[str, ...], str]:
    """Give the classes that can be fitted, and what is lacking where these are too few."""
    counts = _counts(list(labels.values()), question.labels)
    total = len(labels)
    most = total - FEWEST_A_CLASS if question.several else total
    found = tuple(label for label in question.labels if FEWEST_A_CLASS <= counts[label] <= most)
    if len(found) >= (1 if question.several else 2):
        return found, ""
    said = ", ".join(f"{label} ({count})" for label, count in counts.items())
    wanted = f"{FEWEST_A_CLASS} pictures or more of two classes"
    if question.several:
        wanted = f"{FEWEST_A_CLASS} pictures or more with a label, and as many without it"
    return (), f"There are labels of {said}, expected {wanted}. Label more."


def _counts(labels: Sequence[Given], classes: Sequence[str]) -> dict[str, int]:
    counts = dict.fromkeys(classes, 0)
    for label in labels:
        for each in (label,) if isinstance(label, str) else label:
            if each in counts:
                counts[each] += 1
    return counts


def _within(label: Given, classes: Sequence[str]) -> bool:
    """Tell whether a picture takes part: with several labels all do, as none may be right."""
    return label in classes if isinstance(label, str) else True


def _targets(
    labels: Sequence[Given], classes: Sequence[str], *, several: bool
) -> NDArray[np.int64] | NDArray[np.bool_]:
    if not several:
        return np.array([classes.index(str(label)) for label in labels], np.int64)
    return np.array([[each in label for each in classes] for label in labels], np.bool_)


def _rows(
    collection: Collection,
    pictures: Sequence[CollectedPicture],
    looking: Looking,
    manifest: Manifest,
) -> tuple[list[CollectedPicture], NDArray[np.float16], int]:
    """Give the pictures that have features, the features `[M, F]`, and how many have none."""
    width, source = features_of(manifest).width, manifest.source.sha256
    there = [
        each.id
        for each in pictures
        if each.source_sha256 == source and each.features_width == width
    ]
    table = collection.features(there) if there else np.empty((0, width), np.float16)
    if len(there) == len(pictures) and all(np.isfinite(row).all() for row in table):
        return list(pictures), table, 0  # as a rule; and no copy of what may be gigabytes
    stored = dict(zip(there, table, strict=True))
    kept, rows = [], []
    for each in pictures:
        row = stored.get(each.id)
        if row is not None and not np.isfinite(row).all():
            continue  # the network overflowed; one row of these ends every fit
        if row is None:
            row = looking.features(source, each.sha256, partial(collection.jpeg, each.id))
        if row is not None:
            kept.append(each)
            rows.append(row)
    table = np.stack(rows) if rows else np.empty((0, width), np.float16)
    return kept, np.asarray(table, np.float16), len(pictures) - len(kept)


def _taken(pictures: Sequence[CollectedPicture]) -> Taken:
    cameras = {name: number for number, name in enumerate({each.camera for each in pictures})}
    return Taken(
        np.array([cameras[each.camera] for each in pictures], np.int64),
        np.array([each.taken_at for each in pictures], np.float64),
        np.array([each.reason != _IMPORTED for each in pictures], np.bool_),
    )


def _remarks(
    question: CollectionQuestion,
    labels: Mapping[int, Given],
    classes: Sequence[str],
    broken: int,
) -> tuple[str, ...]:
    found = []
    counts = _counts(list(labels.values()), question.labels)
    left = [f"{label} ({counts[label]})" for label in question.labels if label not in classes]
    if left:
        found.append(
            f"Left out for now, with too few pictures: {', '.join(left)}. It takes "
            f"{FEWEST_A_CLASS} of each."
        )
    if broken:
        found.append(f"{broken} labelled pictures could not be read, and took no part.")
    return tuple(found)
