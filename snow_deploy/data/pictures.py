"""What a data set is to the rest of the program: labelled pictures, in up to three splits."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from snow_deploy.data.label_remarks import alike, quoted
from snow_deploy.errors import DataError
from snow_runtime.graph.data_entry import SplitEntry
from snow_runtime.pictures.plain_file import load_plain_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from snow_runtime.multilabel import Labelling

Augmentation = Literal["photo", "none"]


class Pictures(Protocol):
    """A sequence of pictures, each of one class, unless they are `MultiLabelPictures`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of every class; a target is an index into it."""

    def __len__(self) -> int:
        """Return how many pictures there are."""

    def target(self, index: int) -> int:
        """Return the class of one picture, in [0, len(labels))."""

    def name(self, index: int) -> str:
        """Return what to call one picture in a message, such as its path."""

    def load(self, index: int) -> Image.Image:
        """Return one picture in RGB.

        Raises:
            snow_runtime.errors.InputError: The picture can't be read.
        """


@runtime_checkable
class MultiLabelPictures(Pictures, Protocol):
    """A sequence of pictures, each with any number of the labels, none too.

    No picture has one class: `target` raises DataError, and `present` takes its place.
    """

    def present(self, index: int) -> tuple[int, ...]:
        """Return which labels are right of one picture, indices into `labels`, ascending."""


@dataclass(frozen=True)
class FilePictures:
    """Pictures in files.

    Attributes:
        paths: One file a picture.
        targets: The class of each, an index into `labels`.
        labels: The name of every class.

    Raises:
        DataError: The numbers of paths and targets differ, or a target has no label.
    """

    paths: tuple[Path, ...]
    targets: tuple[int, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that every picture has exactly one class, and that the class has a label."""
        if len(self.paths) != len(self.targets):
            msg = (
                f"A listing names {len(self.paths)} pictures but the classes of "
                f"{len(self.targets)}, expected one class for each. Correct the listing."
            )
            raise DataError(msg)
        for path, target in zip(self.paths, self.targets, strict=True):
            if not 0 <= target < len(self.labels):
                msg = (
                    f"{path} is listed under class number {target}, expected 0 to "
                    f"{len(self.labels) - 1}, which have a label. Correct the listing."
                )
                raise DataError(msg)

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.paths)

    def target(self, index: int) -> int:
        """Return the class of one picture, in [0, len(labels))."""
        return self.targets[index]

    def name(self, index: int) -> str:
        """Return the path of one picture."""
        return str(self.paths[index])

    def load(self, index: int) -> Image.Image:
        """Return one picture in RGB, turned as its EXIF orientation says.

        Raises:
            snow_runtime.errors.InputError: The file can't be read; the message names it.
        """
        return load_plain_file(self.paths[index])

    def subset(self, indices: Sequence[int]) -> FilePictures:
        """Return the pictures at `indices`, in that order, with the same labels."""
        return FilePictures(
            paths=tuple(self.paths[index] for index in indices),
            targets=tuple(self.targets[index] for index in indices),
            labels=self.labels,
        )


@dataclass(frozen=True)
class Splits:
    """A data set: the pictures to train on and the pictures to measure on.

    Attributes:
        train: What the deltas are trained on.
        val: What the curve is drawn from, if the data set has such a split.
        test: What the final figures come from, if the data set has such a split.
        augmentation: "photo" for random crops and flips in training, "none" where they would
            change the answer (digits) or the pictures vary enough as they are.
        remarks: What a user should know of it, a sentence each: what was left out, what looks odd.
        held_out: Pictures that were taken out of the training split, for temperatures and bounds;
            None where nothing was.
        all_train: The training split as it was before that: the data is known by it.

    Raises:
        DataError: A split is empty, the labels of two splits differ, pictures have one class in
            one split and any number of labels in another, or there is nothing to measure on.
    """

    train: Pictures
    val: Pictures | None
    test: Pictures | None
    augmentation: Augmentation = "photo"
    remarks: tuple[str, ...] = field(default=(), compare=False)
    held_out: Pictures | None = None
    all_train: Pictures | None = None

    def __post_init__(self) -> None:
        """Check that the splits can be trained and measured on, together."""
        if self.val is None and self.test is None:
            msg = (
                "The data has a train split only, expected val or test beside it. Add one of them."
            )
            raise DataError(msg)
        for split, pictures in (("train", self.train), ("val", self.val), ("test", self.test)):
            if pictures is None:
                continue
            if len(pictures) == 0:
                msg = (
                    f"The {split} split holds no pictures, expected at least one. Add some, or "
                    "leave the split out."
                )
                raise DataError(msg)
            check_same_labels(split, pictures.labels, "train", self.train.labels)
            if isinstance(pictures, MultiLabelPictures) != (self.answers == "several"):
                msg = (
                    f"The pictures of the train and {split} splits differ: some have one class "
                    "each, the others any number of labels. Expected the same of both."
                )
                raise DataError(msg)

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of every class, the same in all splits."""
        return self.train.labels

    @property
    def answers(self) -> Labelling:
        """How many labels of a picture are right: exactly one, or any number of them."""
        return "several" if isinstance(self.train, MultiLabelPictures) else "one"

    @property
    def evaluation(self) -> tuple[str, Pictures]:
        """The split to draw the curve from, with its name: val if there is one, else test.

        No choice may be made with it where it is the test split.
        """
        return self._first_of(("val", self.val), ("test", self.test))

    @property
    def final(self) -> tuple[str, Pictures]:
        """The split that the final figures come from, with its name: test, else val."""
        return self._first_of(("test", self.test), ("val", self.val))

    @property
    def tuning(self) -> Pictures | None:
        """Pictures for temperatures and bounds: neither trained on nor those of the final figures.

        The validation split where there is a test split too, else what was held out of training.
        """
        return self.held_out if self.val is None or self.test is None else self.val

    @functools.cached_property
    def fingerprint(self) -> str:
        """The SHA-256 (hex) of which pictures are in which split, and of which class or labels.

        A picture is known by its path from the folder that all of them are in, so that the data
        may lie elsewhere; what is in the file is not read.
        """
        digest = hashlib.sha256()
        for split, facts in self._listed:
            digest.update(f"{split}\0{facts}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @functools.cached_property
    def entries(self) -> dict[str, SplitEntry]:
        """The fingerprint of each split by itself, and how many pictures it has."""
        digests = {split: hashlib.sha256() for split in self._named}
        for split, facts in self._listed:
            digests[split].update(f"{facts}\n".encode("utf-8", "surrogateescape"))
        return {
            split: SplitEntry(digests[split].hexdigest(), len(pictures))
            for split, pictures in self._named.items()
        }

    @property
    def _named(self) -> dict[str, Pictures]:
        """The splits that there are, by name."""
        splits = {"train": self.all_train or self.train, "val": self.val, "test": self.test}
        return {split: pictures for split, pictures in splits.items() if pictures is not None}

    @functools.cached_property
    def _listed(self) -> list[tuple[str, str]]:
        """Each picture's split, and its path from the folder that all are in with its labels."""
        listed = [
            (split, *os.path.split(pictures.name(index)), label)
            for split, pictures in self._named.items()
            for index, label in enumerate(label_texts(pictures))
        ]
        places = {folder: os.path.realpath(folder) for folder in {each[1] for each in listed}}
        root = os.path.commonpath(list(places.values()))
        known = {folder: os.path.relpath(place, root) for folder, place in places.items()}
        return [
            (split, f"{known[folder]}\0{name}\0{label}") for split, folder, name, label in listed
        ]

    @staticmethod
    def _first_of(*candidates: tuple[str, Pictures | None]) -> tuple[str, Pictures]:
        return next((name, pictures) for name, pictures in candidates if pictures is not None)


def label_texts(pictures: Pictures) -> list[str]:
    """Return of each picture its class; or all its labels, each after a zero character."""
    labels, count = pictures.labels, len(pictures)
    if isinstance(pictures, MultiLabelPictures):
        return ["".join(f"\0{labels[n]}" for n in pictures.present(i)) for i in range(count)]
    return [labels[pictures.target(index)] for index in range(count)]


def check_same_labels(
    split: str,
    labels: Sequence[str],
    reference_split: str,
    reference_labels: Sequence[str],
) -> None:
    """Check that two splits have the same classes in the same order.

    Raises:
        DataError: They don't; the message names what each has and the other lacks.
    """
    if tuple(labels) == tuple(reference_labels):
        return
    sides = []
    for here, there, name, other in (
        (reference_labels, labels, reference_split, split),
        (labels, reference_labels, split, reference_split),
    ):
        present = set(there)
        lacking = [label for label in here if label not in present]
        if lacking:
            sides.append(f"in {name} but not in {other}: {name_some(lacking)}")
    seen = "; ".join(sides) or "the same classes in another order"
    for pair in alike([*reference_labels, *labels]):
        seen += (
            f" ({' and '.join(map(quoted, pair))} differ in capitals, blanks or Unicode form only)"
        )
    msg = (
        f"The classes of the {reference_split} and {split} splits differ: {seen}. "
        "Put every class into every split, under the same name."
    )
    raise DataError(msg)


def name_some(names: Sequence[str], most: int = 8) -> str:
    """Return the names as one line for a message, no more than `most` of them."""
    line = ", ".join(names[:most])
    return line if len(names) <= most else f"{line} and {len(names) - most} more"
