"""What is in a tar of labelled pictures, and where: made once, and kept beside the tar.

TAR's folder/.snow-index/TAR.json lists the samples. It is made anew when the tar's size or time has
changed. The folder may be deleted; where it cannot be written, the tar is read through each time.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.errors import DataError
from snow_runtime.errors import InputError
from snow_runtime.files import atomic_write
from snow_runtime.pictures.picture_files import picture_endings
from snow_runtime.pictures.tars import read_members

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.pictures.tars import Member

_FOLDER: Final = ".snow-index"
_FORMAT: Final = 1
_CLASS_KEYS: Final = ("label", "cls", "class")


@dataclass(frozen=True)
class TarSample:
    """A picture in a tar, and what it is labelled with.

    Attributes:
        member: Name of the picture's file in the tar.
        offset: Where its content begins, in bytes.
        size: Bytes of its content.
        label: Its label, as text; or its labels, where there may be any number.
    """

    member: str
    offset: int
    size: int
    label: str | tuple[str, ...]


@dataclass(frozen=True)
class TarIndex:
    """What is in a tar.

    Attributes:
        samples: The labelled pictures, in the order in which they are there.
        unlabelled: How many pictures have no label beside them.
    """

    samples: tuple[TarSample, ...]
    unlabelled: int


def read_tar_index(path: Path) -> TarIndex:
    """Return what is in a tar, from the index beside it or by reading it through.

    Raises:
        DataError: It is compressed, cut off, damaged or no tar, or a label cannot be read.
    """
    if path.suffix.lower() != ".tar":
        msg = (
            f"{path} is compressed, expected a plain .tar: pictures are read from the middle of it "
            "in training. Unpack it with `gunzip`; pictures hardly shrink anyway."
        )
        raise DataError(msg)
    try:
        status = path.stat()
    except OSError as error:
        msg = f"The tar {path} cannot be read: {error.strerror}. Check the path."
        raise DataError(msg) from error
    stamp = [_FORMAT, status.st_size, status.st_mtime_ns]
    place = path.parent / _FOLDER / f"{path.name}.json"
    known = _kept(place, stamp)
    if known is not None:
        return known
    index = _scanned(path)
    with contextlib.suppress(OSError):  # a disk that is only read from
        place.parent.mkdir(exist_ok=True)
        with atomic_write(place, "w") as stream:
            json.dump(
                {
                    "stamp": stamp,
                    "unlabelled": index.unlabelled,
                    "samples": [
                        [each.member, each.offset, each.size, each.label] for each in index.samples
                    ],
                },
                stream,
            )
    return index


def _kept(place: Path, stamp: list[int]) -> TarIndex | None:
    """Read an index; None where there is none of this tar as it is now."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        if found["stamp"] != stamp:
            return None
        samples = tuple(
            TarSample(member, offset, size, label if isinstance(label, str) else tuple(label))
            for member, offset, size, label in found["samples"]
        )
        return TarIndex(samples, int(found["unlabelled"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _scanned(path: Path) -> TarIndex:
    pictures: dict[str, Member] = {}
    labels: dict[str, str | tuple[str, ...]] = {}
    try:
        with path.open("rb") as stream:
            for member in read_members(stream, str(path)):
                kind = member.ending.rpartition(".")[2]
                if f".{kind}" in picture_endings():
                    if member.key in pictures:
                        raise _two_pictures(path, pictures[member.key].name, member.name)
                    pictures[member.key] = member._replace(content=None)
                elif kind in ("cls", "json"):
                    label = _label(path, member, kind)
                    if label is not None:
                        labels.setdefault(member.key, label)
    except InputError as error:
        msg = f"{error} No picture of it was used."
        raise DataError(msg) from error
    except OSError as error:
        msg = f"The tar {path} cannot be read: {error.strerror}. Check the path and its rights."
        raise DataError(msg) from error
    samples = tuple(
        TarSample(member.name, member.offset, member.size, labels[key])
        for key, member in pictures.items()
        if key in labels
    )
    return TarIndex(samples, len(pictures) - len(samples))


def _label(path: Path, member: Member, kind: str) -> str | tuple[str, ...] | None:
    """Read the label of a member; None where a JSON document says none."""
    try:
        text = (member.content or b"").decode("utf-8").strip()
        found: Any = text if kind == "cls" else _from_json(json.loads(text))
    except ValueError as error:
        msg = (
            f"{path}#{member.name} cannot be read: {error}. Expected a label in UTF-8: in .cls as "
            'it is, in .json as {"label": …} or {"labels": […]}.'
        )
        raise DataError(msg) from error
    if found == "":
        msg = f"{path}#{member.name} is empty, expected a label."
        raise DataError(msg)
    return found  # type: ignore[no-any-return]


def _from_json(document: Any) -> str | tuple[str, ...] | None:
    if not isinstance(document, dict):
        msg = f"it is a {type(document).__name__} and no object"
        raise ValueError(msg)  # noqa: TRY004 - told as what cannot be read
    several = document.get("labels")
    if isinstance(several, list):
        return tuple(sorted({_text(each) for each in several}))
    one = next((document[key] for key in _CLASS_KEYS if document.get(key) is not None), None)
    return None if one is None else _text(one)


def _text(label: Any) -> str:
    if isinstance(label, bool) or not isinstance(label, (str, int)) or label == "":
        msg = f"a label is {label!r} and no text or whole number"
        raise ValueError(msg)
    return str(label)


def _two_pictures(path: Path, one: str, other: str) -> DataError:
    return DataError(
        f"{path} has two pictures of one sample, {one} and {other}, expected one with each label. "
        "Give their samples names of their own, before the first dot."
    )
