"""What calibration and its gate look at: pictures as the network gets them, with their names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from snow_calibration.errors import CalibrationError
from snow_runtime.graph.image_size import size_of, size_text
from snow_runtime.pictures.preprocessing import as_frame, normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch
    from snow_runtime.graph.manifest import Manifest, TaskEntry

PictureOrigin = Literal["measured", "rest", "held out", "unknown"]

FEWEST: Final = 16
"""Fewer pictures than this say too little about the ranges."""


@dataclass(frozen=True)
class CalibrationPictures:
    """Pictures to calibrate on.

    Attributes:
        keys: What each is called; no two alike.
        pixels: [M, S, S, 3] uint8, resized and cropped, red first.

    Raises:
        CalibrationError: Too few, two of one name, or of another type or shape.
    """

    keys: tuple[str, ...]
    pixels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Check them."""
        check_pixels(self.pixels, len(self.keys))
        if len(self.keys) < FEWEST:
            msg = (
                f"{len(self.keys)} pictures are too few to calibrate on, expected {FEWEST} or "
                "more (512 are usual). Give more --data, or raise --samples."
            )
            raise CalibrationError(msg)
        if len(set(self.keys)) < len(self.keys):
            twice = next(key for key in self.keys if self.keys.count(key) > 1)
            msg = f"the picture {twice} is given twice; give each --data once"
            raise CalibrationError(msg)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.keys)

    def in_order(self) -> CalibrationPictures:
        """Return the same pictures, ordered by name: in whatever order they came."""
        order = sorted(range(len(self)), key=self.keys.__getitem__)
        return CalibrationPictures(tuple(self.keys[index] for index in order), self.pixels[order])

    def spread(self, count: int) -> NDArray[np.uint8]:
        """Return pictures spread evenly over all of them, by name: [at most count, S, S, 3]."""
        places = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)
        found: NDArray[np.uint8] = self.in_order().pixels[places]
        return found

    @property
    def sha256(self) -> str:
        """Of the names and the pictures, in whatever order they came."""
        digest = hashlib.sha256()
        for index in sorted(range(len(self)), key=self.keys.__getitem__):
            digest.update(self.keys[index].encode() + b"\0")
            digest.update(np.ascontiguousarray(self.pixels[index]).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures of one task with what they show.

    Attributes:
        pixels: [M, S, S, 3] uint8, resized and cropped, red first.
        targets: [M] indices into the task's labels; or, where any number of them may be right,
            [M, C], 1 or true for each that is and 0 or false for the others.
        known: `measured` for the very pictures that the accuracy in the manifest is of;
            `rest` for what is left of them without copies; `held out` for others that were not
            trained on; `unknown` where that is not known.

    Raises:
        CalibrationError: None at all, or of another type or shape.
    """

    pixels: NDArray[np.uint8]
    targets: NDArray[np.int64] | NDArray[np.bool_]
    known: PictureOrigin = "unknown"

    def __post_init__(self) -> None:
        """Check them."""
        check_pixels(self.pixels, len(self.targets))
        if self.targets.ndim not in {1, 2}:
            msg = (
                f"the targets are {list(self.targets.shape)}, expected [M], a label for each "
                "picture, or [M, C], where any number of the labels may be right."
            )
            raise CalibrationError(msg)

    @property
    def several(self) -> bool:
        """Whether any number of labels may be right of a picture."""
        return self.targets.ndim == 2

    def distinct(self) -> LabelledPictures:
        """Leave out copies: one picture that is there ten times says no more than once.

        What is left where there were some is not all that an accuracy was measured on.
        """
        first: dict[bytes, int] = {}
        for index, picture in enumerate(self.pixels):
            digest = hashlib.sha256(np.ascontiguousarray(picture).data).digest()
            first.setdefault(digest, index)
        if len(first) == len(self.targets):
            return self
        kept = list(first.values())
        known = "rest" if self.known == "measured" else self.known
        return LabelledPictures(self.pixels[kept], self.targets[kept], known)

    def check_labels(self, task: TaskEntry) -> None:
        """Refuse targets that are not of a task's kind.

        Raises:
            CalibrationError: The task has one answer and they have several, or the other way
                round; or they are of another number of labels.
        """
        expected = [len(self.targets)]
        if task.answers == "several":
            expected.append(len(task.labels))
        if list(self.targets.shape) != expected:
            msg = (
                f"the targets of task {task.name!r} are {list(self.targets.shape)}, expected "
                f"{expected}: it has {task.answers} answer{'s' * (task.answers == 'several')} a "
                "picture. Give the data that it was trained with."
            )
            raise CalibrationError(msg)


def check_pixels(pixels: NDArray[Any], count: int) -> None:
    """Refuse what are no pictures [M, S, S, 3] uint8, or not `count` of them.

    Raises:
        CalibrationError: So it is; the message says what was seen.
    """
    coloured = pixels.ndim == 4 and pixels.shape[3] == 3
    if pixels.dtype != np.uint8 or not coloured or len(pixels) != count or count == 0:
        msg = (
            f"the pictures are {pixels.dtype} {list(pixels.shape)} with {count} names, expected "
            "uint8 [M, S, S, 3] and a name for each. Make them with "
            "snow_runtime.pictures.preprocessing.resize_and_crop."
        )
        raise CalibrationError(msg)


def as_input(pixels: NDArray[np.uint8], manifest: Manifest) -> Batch:
    """Prepare pictures [B, S, S, 3] as a graph's input has them.

    Raises:
        CalibrationError: They have another size than the graph takes.
    """
    expected, seen = manifest.preprocessing.image_size, size_of(*pixels.shape[1:3])
    if seen != expected:
        msg = (
            f"the pictures are of {size_text(seen)} pixels, expected {size_text(expected)}, as the "
            "graph takes them. Resize and crop them with the graph's own preprocessing."
        )
        raise CalibrationError(msg)
    if manifest.input.dtype == "uint8":
        return as_frame(pixels, manifest.input)
    return np.stack([normalise(picture, manifest.preprocessing) for picture in pixels])
