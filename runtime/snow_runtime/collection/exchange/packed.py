"""Labelled pictures in one file, on their way between a box and a training machine.

A tar without compression::

    index.json              questions, and of each picture its labels and where it comes from
    pictures/SHA256.jpg
    features/SHA256.f16     where they are kept, float16 [F]

Reading it runs no code, writes no file, and trusts no name in it: every member's content has the
SHA-256 that the index says, and the index the one that it says of itself.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.collection.questions import check_label, check_question
from snow_runtime.collection.records import REASONS, CollectionQuestion, Reason
from snow_runtime.errors import CollectionError, InputError
from snow_runtime.pictures.tars import read_members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_runtime.collection.records import GivenLabel

INDEX: Final = "index.json"
KIND: Final = "snow-deploy collected pictures"
FORMAT: Final = 1
_MOST_INDEX_BYTES: Final = 256 << 20
_MOST_FILE_BYTES: Final = 64 << 20
_LATEST_S: Final = 1e11  # later than any calendar of a browser needs
_ODD: Final = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What reading raises where the index is not as it should be."""
_AGAIN: Final = "Pull it again with 'snow-deploy collect pull'."


@dataclass(frozen=True)
class PackedPicture:
    """A picture of a file, and where its content lies in it.

    Attributes:
        sha256: SHA-256 of the JPEG file.
        member: Its name in the tar.
        offset: Where it begins, in bytes.
        size: Bytes of it.
        camera: Name of the camera.
        view: Name of the view, "" for the whole picture.
        taken_at: Time when it was captured, in seconds since 1970 (UTC).
        reason: Why it was kept.
        source_sha256: SHA-256 of the source that made its features; "" where there are none.
        features: Where its features begin, and how many bytes they have; None where there are none.
        labels: Its labels by question.
    """

    sha256: str
    member: str
    offset: int
    size: int
    camera: str
    view: str
    taken_at: float
    reason: Reason
    source_sha256: str
    features: tuple[int, int] | None
    labels: Mapping[str, GivenLabel]


@dataclass(frozen=True)
class PackedFile:
    """What is in a file.

    Attributes:
        path: The file.
        content_sha256: SHA-256 of all that is in it, the same wherever and whenever it was written.
        questions: The questions.
        pictures: The pictures.
    """

    path: Path
    content_sha256: str
    questions: tuple[CollectionQuestion, ...]
    pictures: tuple[PackedPicture, ...]

    def contents(self) -> Iterator[tuple[PackedPicture, bytes, NDArray[np.float16] | None]]:
        """Give each picture with its JPEG file and its features, float16 `[F]`.

        Raises:
            CollectionError: The file cannot be read any more.
        """
        try:
            with self.path.open("rb") as stream:
                for each in self.pictures:
                    jpeg, features = _part(stream, each.offset, each.size), None
                    if each.features is not None:
                        features = np.frombuffer(_part(stream, *each.features), "<f2")
                    yield each, jpeg, features
        except OSError as error:
            raise _fault(self.path, str(error)) from error


def hash_of_index(index: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what an index says of questions and pictures."""
    known = {"questions": index["questions"], "pictures": index["pictures"]}
    text = json.dumps(known, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_packed(path: Path) -> PackedFile:
    """Read what is in a file, and check all of it.

    Raises:
        CollectionError: It cannot be read, is no such file, is damaged, or a newer version's.
    """
    places: dict[str, tuple[int, int]] = {}
    try:
        with path.open("rb") as stream:
            if stream.read(512)[257:262] != b"ustar":  # a compressed one would be read at length
                raise _fault(path, "it is no tar, or a compressed one")
            stream.seek(0)
            for member in read_members(stream, str(path), wanted=lambda _: False):
                if member.name in places:
                    raise _fault(path, f"{member.name[:80]!r} is in it twice")
                places[member.name] = member.offset, member.size
            index = _index(path, stream, places)
            try:
                return _Reader(path, index, places, stream).read()
            except _ODD as error:
                kind = type(error).__name__
                raise _fault(path, f"its index is not as expected ({kind}: {error})") from error
    except (OSError, InputError) as error:
        raise _fault(path, str(error)) from error


def _index(path: Path, stream: IO[bytes], places: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    if INDEX not in places or places[INDEX][1] > _MOST_INDEX_BYTES:
        raise _fault(path, f"it has no {INDEX}, or a far too large one")
    try:
        found = json.loads(_part(stream, *places[INDEX]))
    except (ValueError, RecursionError) as error:
        raise _fault(path, f"its {INDEX} is no JSON: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise _fault(path, f"its {INDEX} is of something else")
    version = found.get("format")
    if isinstance(version, int) and version > FORMAT:
        msg = f"{path} has the format {version}, expected {FORMAT}. Install a newer snow-deploy."
        raise CollectionError(msg)
    return found


class _Reader:
    """Makes records of an index; what is not as expected is an error."""

    def __init__(
        self,
        path: Path,
        index: dict[str, Any],
        places: Mapping[str, tuple[int, int]],
        stream: IO[bytes],
    ) -> None:
        self._path, self._index, self._places, self._stream = path, index, places, stream
        self._used = {INDEX}

    def read(self) -> PackedFile:
        if self._index["format"] != FORMAT or self._index["content_sha256"] != hash_of_index(
            self._index
        ):
            raise _fault(self._path, "its content is not what it says of itself")
        questions = {}
        for entry in self._index["questions"]:
            question = self._question(entry)
            if question.name in questions:
                raise _fault(self._path, f"the question {question.name} is in it twice")
            questions[question.name] = question
        pictures = tuple(self._picture(entry, questions) for entry in self._index["pictures"])
        more = self._places.keys() - self._used
        if more:
            raise _fault(self._path, f"it holds {min(more)[:80]!r}, which its index does not name")
        sha256 = str(self._index["content_sha256"])
        return PackedFile(self._path, sha256, tuple(questions.values()), pictures)

    @staticmethod
    def _question(entry: dict[str, Any]) -> CollectionQuestion:
        camera = entry["camera"]
        question = CollectionQuestion(
            _text(entry["name"]),
            tuple(_text(label) for label in entry["labels"]),
            None if camera is None else _text(camera),
            _text(entry["view"]),
            entry["several"] is True,
        )
        check_question(question)
        return question

    def _picture(
        self, entry: dict[str, Any], questions: Mapping[str, CollectionQuestion]
    ) -> PackedPicture:
        sha256, taken_at, reason = _text(entry["sha256"]), float(entry["taken_at"]), entry["reason"]
        if reason not in REASONS or not abs(taken_at) < _LATEST_S:
            msg = f"a reason {reason!r} or a time {taken_at}"
            raise ValueError(msg)
        labels: dict[str, GivenLabel] = {}
        for name, given in entry["labels"].items():
            label = tuple(map(_text, given)) if isinstance(given, list) else _text(given)
            check_label(questions[name], label)
            labels[name] = label
        member = f"pictures/{sha256}.jpg"
        features = None
        if entry["features_sha256"] is not None:
            features = self._place(f"features/{sha256}.f16", _text(entry["features_sha256"]))
            if features[1] % 2:
                msg = f"the features of {sha256} have {features[1]} bytes"
                raise ValueError(msg)
        return PackedPicture(
            sha256,
            member,
            *self._place(member, sha256),
            _text(entry["camera"]),
            _text(entry["view"]),
            taken_at,
            reason,
            _text(entry["source_sha256"]),
            features,
            labels,
        )

    def _place(self, member: str, sha256: str) -> tuple[int, int]:
        """Return where a member lies, once it was found to be what it should."""
        if member not in self._places or self._places[member][1] > _MOST_FILE_BYTES:
            raise _fault(self._path, f"{member[:80]!r} is missing, or far too large")
        self._used.add(member)
        if hashlib.sha256(_part(self._stream, *self._places[member])).hexdigest() != sha256:
            raise _fault(self._path, f"{member[:80]!r} is not what its index says")
        return self._places[member]


def _part(stream: IO[bytes], offset: int, size: int) -> bytes:
    stream.seek(offset)
    return stream.read(size)


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = f"{type(value).__name__} in the place of a text"
        raise TypeError(msg)
    value.encode()  # half a character is none
    if any(unicodedata.category(sign) == "Cc" for sign in value):
        msg = "characters that a terminal would obey"
        raise ValueError(msg)
    return value


def _fault(path: Path, what: str) -> CollectionError:
    finding = what.rstrip(".")  # a library's, or an error's with its own advice, may end with one
    msg = f"{path} is no file of labelled pictures that can be read: {finding}. {_AGAIN}"
    return CollectionError(msg)
