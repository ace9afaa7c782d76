"""From the features that a scoring job wrote to readouts: one pass for any number of tasks.

Axes: M pictures; F features of the graph.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.errors import FitError
from snow_runtime.graph.manifest import Manifest
from snow_runtime.learn.collect import LookedAt
from snow_runtime.learn.targets import read_targets
from snow_runtime.readout.evaluate import features_of
from snow_runtime.score.errors import ScoreError
from snow_runtime.score.import_score import import_score
from snow_runtime.score.output_folder import OutputFolder, part_name
from snow_runtime.score.parts import CHECK_KEY, FEATURES, ID, MANIFEST_KEY, SUMMARY_KEY, PartSummary

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class ScoredFeatures:
    """Features of pictures that a job scored.

    Attributes:
        manifest: What the graph is that gave them.
        check: float32 `[F]`, features of the check picture.
        places: Place of each picture in the rows, by its id.
        rows: float16 `[M, F]`.
        unreadable: Ids of pictures that were scored and have none.
        several: Ids of several pictures that differ, of which the first counts.
    """

    manifest: Manifest
    check: NDArray[np.float32] = field(repr=False)
    places: dict[str, int] = field(repr=False)
    rows: NDArray[np.float16] = field(repr=False)
    unreadable: frozenset[str] = field(repr=False)
    several: frozenset[str] = field(repr=False, default=frozenset())


def read_scored_features(uri: str, wanted: Collection[str]) -> ScoredFeatures:
    """Read the features of some pictures from what `score --features` wrote.

    Args:
        uri: Folder of the parts.
        wanted: Ids of the pictures; others are passed over.

    Raises:
        ScoreError: There are no parts, they have no features, or are of several jobs.
        OutputError: A part cannot be read.
    """
    output = OutputFolder(uri)
    numbers = sorted(output.parts())
    if not numbers:
        msg = f"{uri} has no parts, expected a folder that `snow-deploy score --features` wrote."
        raise ScoreError(msg)
    looking = _Looking(uri, frozenset(wanted))
    for number in numbers:
        looking.take(output, number)
    return looking.result()


def looked_at(scored: ScoredFeatures, labels: Mapping[str, str]) -> LookedAt:
    """Put the features of labelled pictures together, as looking at the pictures does.

    A picture that was not scored, or could not be read, is left out, and so is one whose features
    are there already under the same label; the remarks tell.

    Args:
        scored: Features, of these pictures and perhaps of others.
        labels: What each picture shows, by its id.

    Raises:
        FitError: A label has too few pictures, or none has features.
    """
    kept: list[str] = []
    seen: set[tuple[bytes, str]] = set()
    copies = 0
    for name, label in labels.items():
        place = scored.places.get(name)
        if place is None:
            continue
        key = (scored.rows[place].tobytes(), label)
        copies += key in seen
        if key not in seen:
            seen.add(key)
            kept.append(name)
    if not kept:
        msg = (
            f"None of the {len(labels)} labelled pictures has features, such as "
            f"{next(iter(labels), 'none')!r}. {_expected(scored)}"
        )
        raise FitError(msg)
    targets = read_targets([labels[name] for name in kept])
    return LookedAt(
        scored.manifest,
        scored.rows[[scored.places[name] for name in kept]],
        targets,
        scored.check,
        tuple(_remarks(scored, labels, copies)),
    )


def _expected(scored: ScoredFeatures) -> str:
    known = next(iter(scored.places), None) or next(iter(scored.unreadable), None)
    if known is None:
        return "Name them as the column id of the scored pictures does, paths and all."
    return f"The scored pictures are called such as {known!r}; name them so."


def _remarks(scored: ScoredFeatures, labels: Mapping[str, str], copies: int) -> Iterator[str]:
    unreadable = [name for name in labels if name in scored.unreadable]
    if unreadable:
        yield f"{len(unreadable)} pictures could not be read, such as {unreadable[0]}"
    missing = [
        name for name in labels if name not in scored.places and name not in scored.unreadable
    ]
    if missing:
        yield f"{len(missing)} labelled pictures were not scored, such as {missing[0]}"
    several = [name for name in labels if name in scored.several]
    if several:
        yield (
            f"{len(several)} ids are of several pictures, of which the first counts, such as "
            f"{several[0]}"
        )
    if copies:
        yield f"{copies} pictures have the features and label of others, and count once"


class _Looking:
    """Reads parts one after another."""

    def __init__(self, uri: str, wanted: frozenset[str]) -> None:
        self._uri = uri
        self._wanted = wanted
        self._key = ""
        self._facts: tuple[Manifest, NDArray[np.float32]] | None = None
        self._places: dict[str, int] = {}
        self._blocks: list[NDArray[np.float16]] = []
        self._unreadable: set[str] = set()
        self._several: set[str] = set()
        self._hashes: dict[str, int] = {}

    def take(self, output: OutputFolder, number: int) -> None:
        """Read what is wanted of a part; row groups without any of it are passed over."""
        pq = import_score("pyarrow.parquet")
        try:
            with output.open(part_name(number)) as stream:
                file = pq.ParquetFile(stream)
                self._check(part_name(number), file)
                for group in range(file.num_row_groups):
                    ids = file.read_row_group(group, [ID]).column(ID).to_pylist()
                    if not self._wanted.isdisjoint(ids):
                        self._keep(ids, file.read_row_group(group, [FEATURES]).column(FEATURES))
        except (OSError, ValueError, KeyError) as error:
            why = str(error).rstrip(".")
            msg = f"{part_name(number)} in {self._uri} cannot be read: {why}. Score it anew."
            raise ScoreError(msg) from error

    def _check(self, name: str, file: Any) -> None:
        metadata = {**(file.schema_arrow.metadata or {}), **(file.metadata.metadata or {})}
        if CHECK_KEY not in metadata or MANIFEST_KEY not in metadata:
            msg = (
                f"{name} in {self._uri} has no features, expected what `snow-deploy score "
                "--features` wrote. Score the pictures with that option, into another folder."
            )
            raise ScoreError(msg)
        key = PartSummary.from_json(metadata[SUMMARY_KEY]).key
        if self._facts is None:
            check = np.frombuffer(base64.b64decode(metadata[CHECK_KEY]), "<f4")
            manifest = Manifest.from_json(metadata[MANIFEST_KEY].decode())
            features_of(manifest)
            self._facts, self._key = (manifest, check.astype(np.float32)), key
        elif key != self._key:
            msg = f"{name} in {self._uri} is of another job. Leave parts of one job in the folder."
            raise ScoreError(msg)

    def _keep(self, ids: list[str], column: Any) -> None:
        rows = column.combine_chunks()
        there = np.asarray(rows.is_valid())
        flat = rows.values.to_numpy(zero_copy_only=False).reshape(len(ids), -1)
        places = []
        for place, name in enumerate(ids):
            if name not in self._wanted:
                continue
            if not there[place]:
                self._unreadable.add(name)
                continue
            content = hash(flat[place].tobytes())
            if self._hashes.setdefault(name, content) != content:
                self._several.add(name)
            elif name not in self._places:
                self._places[name] = len(self._places)
                places.append(place)
        self._blocks.append(np.asarray(flat[places], np.float16))

    def result(self) -> ScoredFeatures:
        """Give what was found."""
        if self._facts is None:
            msg = f"The parts in {self._uri} could not be read. Score the pictures anew."
            raise ScoreError(msg)
        manifest, check = self._facts
        rows = (
            np.concatenate(self._blocks) if self._blocks else np.empty((0, len(check)), np.float16)
        )
        return ScoredFeatures(
            *(manifest, check, self._places, rows),
            frozenset(self._unreadable - self._places.keys()),
            frozenset(self._several),
        )
