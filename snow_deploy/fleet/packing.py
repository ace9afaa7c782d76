"""Files as pieces, and pieces as blobs: each once, and small where the piece before is known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.graph_parts import STRUCTURE, Stretch, stretches_of
from snow_deploy.fleet.publication import PUBLISHER
from snow_runtime.files import atomic_write, sha256_file
from snow_runtime.update.compression import compress, decompress, usable_base
from snow_runtime.update.release import (
    LARGEST_PIECE_BYTES,
    Blob,
    FilePart,
    Release,
    ReleaseFile,
    ReleasePiece,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_deploy.fleet.publication import Publication

_SMALL_BYTES: Final = 1 << 20
_LEVELS: Final = (19, 9)  # of Zstandard, for small pieces and for large ones
_WORTH: Final = 0.9
"""A change is published where it is smaller than so much of the whole piece."""


@dataclass
class Packer:
    """Makes the pieces of one release.

    Args:
        publication: Where blobs go.
        known: Pieces of earlier releases, by their hashes.
        before: Hashes of the pieces, by what they are, of each release to make changes from.

    Attributes:
        pieces: Pieces so far.
        places: What each of them is: a file's path, and a tensor's name.
        new_bytes: Bytes of blobs that were not published before, each piece in its smallest form.
    """

    publication: Publication
    known: dict[str, ReleasePiece]
    before: Sequence[dict[str, str]]
    pieces: list[ReleasePiece] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    new_bytes: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)

    def pack(self, path: Path, name: str, tensors: list[Stretch] | None = None) -> ReleaseFile:
        """Make a file's pieces.

        Args:
            path: The file.
            name: Path that it has in the release.
            tensors: Its tensors, where they are known.

        Raises:
            PublishError: The file changes while it is read.
            OSError: It cannot be read, or the disk is full.
        """
        stretches = stretches_of(path, tensors)
        digest, content = hashlib.sha256(), bytearray()
        structure: list[tuple[int, int, int]] = []  # of parts: their number, piece and offset
        parts: list[FilePart] = []
        with path.open("rb") as stream:
            groups = 0
            for each in stretches:
                data = stream.read(each.size_bytes)
                digest.update(data)
                if each.name != STRUCTURE:
                    parts.append(FilePart(self._add(f"{name}\n{each.name}", data), 0, len(data)))
                    continue
                if content and len(content) + len(data) > LARGEST_PIECE_BYTES:
                    self._close(f"{name}\n{groups}", content, structure, parts)
                    groups += 1
                structure.append((len(parts), len(content), len(data)))
                content += data
                parts.append(FilePart(0, 0, len(data)))  # its piece is made when it is full
            self._close(f"{name}\n{groups}", content, structure, parts)
        size = sum(part.size_bytes for part in parts)
        if size != path.stat().st_size:
            msg = f"{path} changed while it was read. Publish it again when it is whole."
            raise PublishError(msg)
        return ReleaseFile(name, size, digest.hexdigest(), tuple(parts))

    def _close(
        self,
        place: str,
        content: bytearray,
        structure: list[tuple[int, int, int]],
        parts: list[FilePart],
    ) -> None:
        """Make a piece of the structure that was gathered, and have the parts name it."""
        if content:
            piece = self._add(place, bytes(content))
            for index, offset, size in structure:
                parts[index] = FilePart(piece, offset, size)
        content.clear()
        structure.clear()

    def _add(self, place: str, content: bytes) -> int:
        """Return the number of a piece with this content."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.places[place] = sha256
        if sha256 not in self._numbers:
            self._numbers[sha256] = len(self.pieces)
            known = self.known.get(sha256)
            if known is None or not all(self._there(blob) for blob in known.blobs):
                known = self._make(place, sha256, content)
            self.pieces.append(known)
        return self._numbers[sha256]

    def _make(self, place: str, sha256: str, content: bytes) -> ReleasePiece:
        level = _LEVELS[len(content) > _SMALL_BYTES]
        whole = compress(content, level=level)
        blobs = [self._write(whole, None)]
        for base in dict.fromkeys(before[place] for before in self.before if place in before):
            old = self._content(base)
            if old is not None and usable_base(old):
                change = compress(content, old, level)
                if len(change) < _WORTH * len(whole):
                    blobs.append(self._write(change, base))
        self.new_bytes += min(blob.size_bytes for blob in blobs)
        return ReleasePiece(sha256, len(content), tuple(blobs))

    def _write(self, packed: bytes, base: str | None) -> Blob:
        sha256 = hashlib.sha256(packed).hexdigest()
        path = self.publication.blobs / sha256
        if not path.is_file() or sha256_file(path) != sha256:
            with atomic_write(path) as stream:
                stream.write(packed)
        return Blob(sha256, len(packed), base)

    def _there(self, blob: Blob) -> bool:
        """Tell whether a blob seems to be published: an earlier release may have been pruned."""
        path = self.publication.blobs / blob.sha256
        return path.is_file() and path.stat().st_size == blob.size_bytes

    def _content(self, sha256: str) -> bytes | None:
        """Return an earlier piece; None where it is not published any more, or damaged."""
        piece = self.known.get(sha256)
        for blob in () if piece is None else piece.blobs:
            if piece is not None and blob.base is None and self._there(blob):
                packed = (self.publication.blobs / blob.sha256).read_bytes()
                if hashlib.sha256(packed).hexdigest() == blob.sha256:
                    return decompress(packed, piece.size_bytes)
        return None


def packer_for(publication: Publication, releases: Sequence[Release], changes: int) -> Packer:
    """Make a packer that knows what was published before.

    Args:
        publication: The publication.
        releases: Its releases, the newest first.
        changes: Number of them from which changes are made.
    """
    known = {piece.sha256: piece for release in releases for piece in release.pieces}
    before = [_places(publication, release) for release in releases[:changes]]
    return Packer(publication, known, before)


def save_places(publication: Publication, release: Release, places: dict[str, str]) -> None:
    """Note for later releases which piece stood where."""
    folder = publication.folder / PUBLISHER
    folder.mkdir(exist_ok=True)
    with atomic_write(folder / f"{release.name}.json", "w") as stream:
        json.dump(places, stream)


def _places(publication: Publication, release: Release) -> dict[str, str]:
    """Return which piece stood where; nothing where that was lost: all will be whole pieces."""
    try:
        path = publication.folder / PUBLISHER / f"{release.name}.json"
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(place): str(sha256) for place, sha256 in dict(found).items()}
