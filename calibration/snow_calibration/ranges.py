"""The ranges of a graph's tensors, measured on pictures: an artifact of its own, resumable.

Two passes: the first finds each tensor's largest magnitude, the second counts how many values
lie in each of 2048 equal steps up to it. Pictures are taken in the order of their names, one at a
time, whatever order and batches they came in, so that equal pictures give equal ranges.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import numpy as np

from snow_calibration.errors import CalibrationError
from snow_calibration.thresholds import BINS, ThresholdMethod, threshold
from snow_runtime.errors import ManifestError
from snow_runtime.files import atomic_write, writing
from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document, parse_json
from snow_runtime.graph.field_checks import Sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_calibration.pictures import CalibrationPictures
    from snow_runtime.progress import ProgressCallback

    TensorValues = Mapping[str, NDArray[np.float32]]

FORMAT: Final = 1
_SAVE_EVERY: Final = 16  # pictures
_KEY = ("graph_sha256", "data_sha256", "samples", "method")
_Magnitudes: TypeAlias = dict[str, Annotated[float, field_checks.magnitude]]


@dataclass(frozen=True)
class Origin(Document):
    """What ranges were measured on; ranges are only good for the same.

    Attributes:
        graph_sha256: SHA-256 of the graph's file.
        data_sha256: SHA-256 of the pictures and their names.
        samples: How many pictures.
        method: How thresholds were chosen.
    """

    graph_sha256: Sha256
    data_sha256: Sha256
    samples: int
    method: ThresholdMethod


@dataclass(frozen=True)
class _RangesFile(Origin):
    format: Annotated[int, field_checks.one_of(FORMAT)]
    done: int
    largest: _Magnitudes
    counts: dict[str, str]
    thresholds: _Magnitudes


@dataclass
class Ranges:
    """Ranges, or as much of them as is known yet.

    Attributes:
        origin: What they were measured on.
        done: How many pictures of the pass under way are in.
        largest: The table by tensor: the largest magnitude.
        counts: The table by tensor: a histogram, [BINS] int64; empty in the first pass, and once
            they are used.
        thresholds: The table by tensor: the largest magnitude that INT8 has to hold; empty until
            the end.
    """

    origin: Origin
    done: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the thresholds are there."""
        return bool(self.thresholds)

    def save(self, path: Path) -> None:
        """Write the ranges as JSON.

        Raises:
            CalibrationError: The file cannot be written.
        """
        document = {
            "format": FORMAT,
            **{key: getattr(self.origin, key) for key in _KEY},
            "done": self.done,
            "largest": self.largest,
            "counts": {name: _pack(counts) for name, counts in self.counts.items()},
            "thresholds": self.thresholds,
        }
        with writing(path, CalibrationError, "Choose another --ranges, or free space."):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, "w") as file:
                json.dump(document, file, indent=1)

    @classmethod
    def load(cls, path: Path) -> Ranges:
        """Read what `save` wrote.

        Raises:
            CalibrationError: It cannot be read, or is no such file.
        """
        try:
            file = _RangesFile.read("the file", parse_json(path.read_text(encoding="utf-8")))
            found = cls(
                origin=Origin(**{key: getattr(file, key) for key in _KEY}),
                done=file.done,
                largest=file.largest,
                counts={name: _unpack(text) for name, text in file.counts.items()},
                thresholds=file.thresholds,
            )
            _check_whole(found)
        except (OSError, ValueError, zlib.error, ManifestError) as error:
            finding = error.finding if isinstance(error, ManifestError) else error
            msg = (
                f"{path} holds no ranges that can be read: {finding}. Delete it and calibrate "
                "anew, or name another --ranges."
            )
            raise CalibrationError(msg) from error
        return found


def measure_ranges(
    run: Callable[[NDArray[np.uint8]], TensorValues],
    tensors: Sequence[str],
    samples: CalibrationPictures,
    origin: Origin,
    path: Path,
    *,
    progress: ProgressCallback | None = None,
) -> Ranges:
    """Measure the ranges, or go on with what `path` holds of them; `path` holds them at the end.

    Args:
        run: Function from one picture [1, S, S, 3] uint8 to the values of the tensors.
        tensors: Names of those whose ranges are wanted.
        samples: The pictures.
        origin: What the ranges are good for.
        path: A JSON file, written every few pictures.
        progress: Callback that gets `ranges` and the share that is done, after each picture of both
            passes.

    Raises:
        CalibrationError: `path` holds ranges of something else or cannot be read or written, or
            a tensor has NaN or infinity in it.
    """
    ranges = _resume(path, origin, tensors)
    if ranges.complete:
        return ranges
    samples = samples.in_order()
    for counting in (False, True):
        if not counting and ranges.counts:
            continue
        if counting and not ranges.counts:
            ranges.done = 0
            ranges.counts = {name: np.zeros(BINS, np.int64) for name in tensors}
        for index in range(ranges.done, len(samples)):
            values = run(samples.pixels[index : index + 1])
            for name in tensors:
                _take(ranges, name, values[name], samples.keys[index])
            ranges.done = index + 1
            if ranges.done % _SAVE_EVERY == 0:
                ranges.save(path)
            if progress is not None:
                progress("ranges", (ranges.done / len(samples) + counting) / 2)
    ranges.thresholds = {name: _threshold(ranges, name) for name in tensors}
    ranges.counts = {}
    ranges.save(path)
    return ranges


def _resume(path: Path, origin: Origin, tensors: Sequence[str]) -> Ranges:
    if not path.exists():
        return Ranges(origin)
    found = Ranges.load(path)
    differences = [
        f"{key} {getattr(found.origin, key)}, expected {getattr(origin, key)}"
        for key in _KEY
        if getattr(found.origin, key) != getattr(origin, key)
    ]
    known = found.thresholds or found.largest
    if not differences and known and set(tensors) != set(known):
        differences = ["other tensors"]
    if differences:
        msg = (
            f"{path} holds the ranges of something else: {'; '.join(differences)}. Name another "
            "--ranges, or delete the file to calibrate anew."
        )
        raise CalibrationError(msg)
    return found


def _take(ranges: Ranges, name: str, values: NDArray[np.float32], key: str) -> None:
    magnitudes = np.abs(values, dtype=np.float32).ravel()
    largest = float(magnitudes.max(initial=0.0))
    if not np.isfinite(largest):
        msg = (
            f"{name} holds NaN or infinity on the picture {key}. The graph does not compute in "
            "fp32 there; check it with 'snow-deploy verify'."
        )
        raise CalibrationError(msg)
    if not ranges.counts:
        ranges.largest[name] = max(ranges.largest.get(name, 0.0), largest)
        return
    if ranges.largest[name] > 0:
        bins = (magnitudes / np.float32(ranges.largest[name]) * BINS).astype(np.int32)
        found = np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)
        ranges.counts[name] += found


def _threshold(ranges: Ranges, name: str) -> float:
    """Return a tensor's threshold; zero for one that is always zero."""
    largest = ranges.largest[name]
    if largest == 0:
        return 0.0
    return threshold(ranges.counts[name], largest, ranges.origin.method)


def _pack(counts: NDArray[np.int64]) -> str:
    return base64.b64encode(zlib.compress(counts.astype("<i8").tobytes())).decode("ascii")


def _unpack(text: str) -> NDArray[np.int64]:
    content = zlib.decompressobj().decompress(base64.b64decode(text), 8 * BINS + 1)
    counts = np.frombuffer(content, "<i8").astype(np.int64)
    if counts.shape != (BINS,) or (counts < 0).any():
        msg = f"{len(counts)} counts, expected {BINS}"
        raise ValueError(msg)
    return counts


def _check_whole(found: Ranges) -> None:
    """Refuse what no run of ours has written: parts that do not fit each other."""
    if found.done > found.origin.samples:
        msg = f"{found.done} of {found.origin.samples} pictures are done"
        raise ValueError(msg)
    if found.counts and found.counts.keys() != found.largest.keys():
        msg = "its counts are of other tensors than its magnitudes"
        raise ValueError(msg)
    if found.done and not found.largest:
        msg = "it has pictures and no magnitudes"
        raise ValueError(msg)
    if found.thresholds:
        _check_thresholds(found)
    for name, counts in found.counts.items():
        if found.done and found.largest[name] > 0 and not counts.any():
            msg = f"nothing is counted of {name}"
            raise ValueError(msg)


def _check_thresholds(found: Ranges) -> None:
    """Refuse thresholds of other tensors, and zero for what is not always zero."""
    if found.thresholds.keys() != found.largest.keys():
        msg = "its thresholds are of other tensors than its magnitudes"
        raise ValueError(msg)
    for name, value in found.thresholds.items():
        if value == 0 < found.largest[name]:
            msg = f"the threshold of {name} is 0, its magnitude {found.largest[name]}"
            raise ValueError(msg)
