"""What a release consists of: files, each made of pieces, and where the pieces can be had."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from snow_runtime.errors import ManifestError
from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document, parse_json
from snow_runtime.update.errors import UntrustedError

LARGEST_PIECE_BYTES: Final = 1 << 24
"""No piece is larger, so that a small box can hold two of them in memory."""
_LARGEST_BLOB_BYTES: Final = LARGEST_PIECE_BYTES + (1 << 17)  # what cannot be compressed grows
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_name = field_checks.matching(NAME, "up to 64 letters, digits, '.', '_' and '-'")

D = TypeVar("D", bound=Document)


def _path(where: str, value: object) -> str:
    """Check a path inside the release's folder, with `/` between its parts."""
    text = field_checks.text(where, value)
    parts = text.split("/")
    plain = all(part and part[0] not in ".~" and part.isprintable() for part in parts)
    if not plain or "\\" in text or PurePosixPath(text).is_absolute() or text == RECORD:
        raise field_checks.refusal(where, value, "a relative path such as readouts/door.readout")
    if text.casefold().endswith(".engine"):
        expected = "no engine: boxes build theirs, and a foreign one could do anything"
        raise field_checks.refusal(where, value, expected)
    return text


def _graph_path(where: str, value: object) -> str:
    """Check the path of a graph: what ends otherwise may be loaded as something else."""
    text = _path(where, value)
    if not text.endswith(".onnx"):
        raise field_checks.refusal(where, value, "a path that ends with .onnx")
    return text


RECORD: Final = "release.json"
"""The release's own document, beside its files on a box."""


@dataclass(frozen=True)
class Blob(Document):
    """A file that a piece is unpacked from.

    Attributes:
        sha256: SHA-256 of the file, which is its name too.
        size_bytes: Size of the file.
        base: SHA-256 of the piece that it is compressed against; None for nothing.
    """

    prefix: ClassVar[str] = "blob."
    sha256: Annotated[str, field_checks.sha256]
    size_bytes: Annotated[int, field_checks.between(1, _LARGEST_BLOB_BYTES)]
    base: Annotated[str, field_checks.sha256] | None = None


@dataclass(frozen=True)
class ReleasePiece(Document):
    """Bytes that travel together.

    Attributes:
        sha256: SHA-256 of the bytes.
        size_bytes: How many they are.
        blobs: What they can be unpacked from, any of them.
    """

    prefix: ClassVar[str] = "piece."
    sha256: Annotated[str, field_checks.sha256]
    size_bytes: Annotated[int, field_checks.between(1, LARGEST_PIECE_BYTES)]
    blobs: tuple[Blob, ...]


@dataclass(frozen=True)
class FilePart(Document):
    """A stretch of a file.

    Attributes:
        piece: Number of the piece that it lies in, from 0.
        offset: Where in the piece it begins, in bytes.
        size_bytes: How many bytes it has.
    """

    prefix: ClassVar[str] = "part."
    piece: int
    offset: int
    size_bytes: Annotated[int, field_checks.between(1)]


@dataclass(frozen=True)
class ReleaseFile(Document):
    """A file of a release.

    Attributes:
        path: Path of the file in the release's folder.
        size_bytes: Size of the file.
        sha256: SHA-256 of the file.
        parts: What it is put together from, in order.
    """

    prefix: ClassVar[str] = "file."
    path: Annotated[str, _path]
    size_bytes: int
    sha256: Annotated[str, field_checks.sha256]
    parts: tuple[FilePart, ...] = ()


@dataclass(frozen=True)
class Release(Document):
    """A release: what a box is to run, and how to tell whether it does.

    Attributes:
        format: Version of this document.
        name: Name of the release.
        number: Higher for each release that is published later.
        created: When it was published, in UTC.
        model: Path of the graph.
        pieces: All pieces of its files.
        files: Its files.
        readouts: Paths of readouts, which are checked with the graph.
        config: Path of the configuration file; None for none.
        engine: Precision of the engine that a box builds from the graph; None for no engine.
        budget_ms: Longest time of one answer, by the median, in milliseconds; None for any.
        watch_s: How long a box watches it before it counts as good.
    """

    prefix: ClassVar[str] = "release."
    format: Annotated[int, field_checks.one_of(1)]
    name: Annotated[str, _name]
    number: Annotated[int, field_checks.between(1)]
    created: str
    model: Annotated[str, _graph_path]
    pieces: tuple[ReleasePiece, ...]
    files: tuple[ReleaseFile, ...]
    readouts: tuple[str, ...] = ()
    config: str | None = None
    engine: Literal["fp32", "fp16", "int8"] | None = None
    budget_ms: Annotated[float, field_checks.magnitude] | None = None
    watch_s: Annotated[float, field_checks.magnitude] = 600.0

    def __post_init__(self) -> None:
        """Check the fields, and that files are whole and named where they are used."""
        super().__post_init__()
        paths = [file.path for file in self.files]
        field_checks.unique("the list of the release's files", paths)
        for each in (self.model, *self.readouts, *filter(None, [self.config])):
            if each not in paths:
                msg = "a file of the release"
                raise field_checks.refusal(msg, each, "one of its files")
        for file in self.files:
            self._check_parts(file)

    @property
    def size_bytes(self) -> int:
        """Size of all files."""
        return sum(file.size_bytes for file in self.files)

    def to_json(self) -> str:
        """Write it as JSON, in the shortest form."""
        return json.dumps(_without_none(asdict(self)), separators=(",", ":"))

    def _check_parts(self, file: ReleaseFile) -> None:
        for part in file.parts:
            count = len(self.pieces)
            field_checks.integer(f"{file.path}.piece", part.piece, 0, count - 1)
            room = self.pieces[part.piece].size_bytes
            field_checks.integer(f"{file.path}.part", part.offset + part.size_bytes, 1, room)
        whole = sum(part.size_bytes for part in file.parts)
        field_checks.integer(f"the parts of {file.path}", whole, file.size_bytes, file.size_bytes)


def read_document(kind: type[D], content: bytes, what: str) -> D:
    """Read a document that a publisher signed.

    Args:
        kind: Class of the document.
        content: JSON in UTF-8.
        what: What it is, for the message.

    Raises:
        UntrustedError: It is none of its kind.
    """
    try:
        return kind.read(what, parse_json(content.decode()))
    except (ManifestError, UnicodeDecodeError) as error:
        finding = error.finding if isinstance(error, ManifestError) else str(error)
        msg = (
            f"The {what} cannot be used: {finding}. Publish it anew, or update snow-deploy here if "
            "a newer one published it."
        )
        raise UntrustedError(msg) from error


def _without_none(data: Any) -> Any:
    """Leave out of a document what is None."""
    if isinstance(data, dict):
        return {name: _without_none(each) for name, each in data.items() if each is not None}
    return [_without_none(each) for each in data] if isinstance(data, (list, tuple)) else data
