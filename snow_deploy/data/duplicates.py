"""The same picture in two places: in training and in what is measured on, or under two labels.

A picture is the same by its file, whatever path leads there (a link, another mount, `a/../b`), or
by its content, as a copy is. Published sets have such copies; so they are reported, not refused.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from itertools import chain, combinations
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from snow_deploy.data.multilabel import MultiLabelFiles
from snow_deploy.data.pictures import FilePictures, label_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from pathlib import Path

    from snow_deploy.data.pictures import Splits

_HEAD_BYTES: Final = 4096
_MOST_READ: Final = 5000
"""Files of equal size whose beginnings are read; beyond, only links are found, as is said."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Place:
    """Where a picture is listed."""

    path: Path
    split: str
    label: str


def identity(path: Path) -> Hashable:
    """Return what identifies a file, whatever path leads to it."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return os.path.normpath(path)
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def alike_remarks(splits: Splits) -> tuple[str, ...]:
    """Say which pictures are in two splits, or under two labels, a sentence for each kind.

    Of pictures that may have any number of labels, all those of one picture count as one.
    """
    places = [
        _Place(path, split, label)
        for split, pictures in (("train", splits.train), ("val", splits.val), ("test", splits.test))
        if isinstance(pictures, FilePictures | MultiLabelFiles)
        for path, label in zip(pictures.paths, label_texts(pictures), strict=True)
    ]
    groups = _grouped(places, lambda place: identity(place.path))
    several, unread = _copies(groups)
    doubts = [doubt for group in several for doubt in _doubts(group)]
    found = []
    for kind, consequence in _KINDS.items():
        of_kind = [doubt for doubt in doubts if doubt.kind == kind]
        if of_kind:
            count = sum(doubt.times for doubt in of_kind)
            what = "1 picture is" if count == 1 else f"{count} pictures are"
            one, other = of_kind[0].example
            sets = kind == _TWO_LABELS and splits.answers == "several"
            said = _TWO_SETS if sets else kind
            found.append(f"{what} {said}, such as {one} and {other}: {consequence}")
    if unread:
        found.append(
            f"{unread} pictures have another's size in bytes, too many to compare: copies of a "
            "picture in two splits would not be noticed"
        )
    return tuple(found)


_LEAKS: Final = "what is measured on them is no accuracy on unseen pictures. Leave them out of one"
_TWO_LABELS: Final = "there under two labels"
_TWO_SETS: Final = "there under two sets of labels"
_KINDS: Final = {
    "in train and in val": _LEAKS,
    "in train and in test": _LEAKS,
    "in val and in test": "what is chosen by val is chosen by test too. Leave them out of one",
    _TWO_LABELS: "one of them is wrong. Leave it out",
}
"""What may be wrong with a picture that is listed several times, and what comes of it."""


class _Doubt(NamedTuple):
    """Something that is wrong with one picture: how often it is listed so, and two examples."""

    kind: str
    times: int
    example: tuple[Path, Path]


def _doubts(group: list[_Place]) -> list[_Doubt]:
    """Say what is wrong with one picture that is listed in these places."""
    by_split = _grouped(group, lambda place: place.split)
    found = [
        _Doubt(
            f"in {one[0].split} and in {other[0].split}", len(other), (one[0].path, other[0].path)
        )
        for one, other in combinations(by_split, 2)  # train, val, test: as they are listed
    ]
    by_label = _grouped(group, lambda place: place.label)
    if len(by_label) > 1:
        example = by_label[0][0].path, by_label[1][0].path
        found.append(_Doubt(_TWO_LABELS, len(group), example))
    return found


def _copies(files: list[list[_Place]]) -> tuple[list[list[_Place]], int]:
    """Join the places of files with the same content.

    Args:
        files: The places of each.

    Returns:
        The groups of several places; how many files were not compared, as they are too many.
    """
    joined: list[list[_Place]] = []
    suspects: list[list[list[_Place]]] = []
    for same_size in _grouped(files, lambda places: _size(places[0].path)):
        matters = len({(place.split, place.label) for place in chain(*same_size)}) > 1
        if len(same_size) > 1 and matters:
            suspects.append(same_size)
        else:
            joined += same_size
    count = sum(map(len, suspects))
    for same_size in suspects:
        joined += same_size if count > _MOST_READ else _joined(same_size)
    several = [places for places in joined if len(places) > 1]
    return several, count if count > _MOST_READ else 0


def _joined(files: list[list[_Place]]) -> list[list[_Place]]:
    """Join the places of those files, of equal size, that have the same content."""
    found = []
    for same_head in _grouped(files, lambda places: _digest(places[0].path, _HEAD_BYTES)):
        if len(same_head) == 1:
            found += same_head
            continue
        whole = _grouped(same_head, lambda places: _digest(places[0].path))
        found += [list(chain(*each)) for each in whole]
    return found


def _size(path: Path) -> Hashable:
    try:
        return path.stat().st_size or path  # an empty file is no picture
    except (OSError, ValueError):
        return path


def _digest(path: Path, most: int | None = None) -> Hashable:
    """Return the SHA-256 of a file, or of its beginning; the path of what cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            if most is not None:
                return hashlib.sha256(file.read(most)).hexdigest()
            while block := file.read(1 << 20):
                digest.update(block)
    except (OSError, ValueError):
        return path
    return digest.hexdigest()


def _grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Return the items of equal key together, in the order in which they came."""
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
