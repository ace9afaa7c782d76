"""Pieces of releases: those that lie here already, and downloads of others."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from snow_runtime.files import atomic_write, sha256_file
from snow_runtime.update.compression import decompress
from snow_runtime.update.errors import UnreachableError, UntrustedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from snow_runtime.update.box import Box
    from snow_runtime.update.release import Blob, Release, ReleasePiece
    from snow_runtime.update.transport import Transport

BLOBS = "blobs"


class PieceStore:
    """Finds pieces in the generations that are here, and among those that have come.

    Every piece is checked by its hash each time that it is read: a disk forgets.

    Args:
        box: The box's folder.
    """

    def __init__(self, box: Box) -> None:
        self._incoming = box.incoming
        self._places: dict[str, list[tuple[Path, list[tuple[int, int]]]]] = {}
        self._whole: dict[str, list[Path]] = {}
        for folder, release in box.kept():
            self._note(folder, release)

    def has(self, sha256: str) -> bool:
        """Tell whether a piece seems to be here."""
        return sha256 in self._places or self._came(sha256).is_file()

    def whole_files(self, sha256: str) -> list[Path]:
        """Return files of generations that had these contents when they were put together."""
        return [path for path in self._whole.get(sha256, []) if path.is_file()]

    def read(self, sha256: str, size_bytes: int) -> bytes | None:
        """Return a piece that is here and whole; None where it is not."""
        came = self._came(sha256)
        for path, stretches in [*self._places.get(sha256, []), (came, [(0, size_bytes)])]:
            content = _stretches(path, stretches)
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
        came.unlink(missing_ok=True)
        self._places.pop(sha256, None)
        return None

    def keep(self, sha256: str, content: bytes) -> None:
        """Keep a piece that has come until its files are put together.

        Raises:
            OSError: The disk is full.
        """
        with atomic_write(self._came(sha256)) as stream:
            stream.write(content)

    def _came(self, sha256: str) -> Path:
        return self._incoming / f"{sha256}.piece"

    def _note(self, folder: Path, release: Release) -> None:
        """Note where a generation's files hold whole pieces."""
        for file in release.files:
            path, at = folder / file.path, 0
            self._whole.setdefault(file.sha256, []).append(path)
            found: dict[int, list[tuple[int, int, int]]] = {}  # in it, here
            for part in file.parts:
                found.setdefault(part.piece, []).append((part.offset, at, part.size_bytes))
                at += part.size_bytes
            for number, parts in found.items():
                piece = release.pieces[number]
                if _cover(parts, piece.size_bytes):
                    stretches = [(here, size) for _, here, size in sorted(parts)]
                    self._places.setdefault(piece.sha256, []).append((path, stretches))


class Downloads:
    """Gets the pieces that are not here.

    A download that was cut off goes on where it ended, also after the machine did.

    Args:
        store: Pieces that are here.
        incoming: Folder for what has come.
        transport: Where the publication lies.
        sizes: Sizes of pieces that others may be compressed against, in bytes, by their hashes.
        go_on: Function that is called before each download and whenever some of it has come; what
            it raises ends it.
    """

    def __init__(
        self,
        store: PieceStore,
        incoming: Path,
        transport: Transport,
        sizes: dict[str, int],
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        self._go_on = go_on
        self._store = store
        self._incoming = incoming
        self._transport = transport
        self._sizes = sizes

    def get(self, piece: ReleasePiece) -> None:
        """Have a piece here.

        Raises:
            UnreachableError: It cannot be read there now.
            UntrustedError: What is there is not what was signed.
            OSError: The disk is full.
        """
        if self._store.has(piece.sha256) and self._store.read(piece.sha256, piece.size_bytes):
            return
        blob, base = self._cheapest(piece)
        path = self._fetch(blob)
        try:
            content = decompress(path.read_bytes(), piece.size_bytes, base)
            if hashlib.sha256(content).hexdigest() != piece.sha256:
                msg = (
                    f"The file {blob.sha256} unpacks to another piece than {piece.sha256}, which "
                    "it was published for. The publisher has to publish it anew."
                )
                raise UntrustedError(msg)
            self._store.keep(piece.sha256, content)
        finally:
            path.unlink(missing_ok=True)

    def _cheapest(self, piece: ReleasePiece) -> tuple[Blob, bytes | None]:
        """Return the smallest blob that can be unpacked here, and what it is unpacked against."""
        for blob in sorted(piece.blobs, key=lambda each: each.size_bytes):
            if blob.base is None:
                return blob, None
            size = self._sizes.get(blob.base)
            base = None if size is None else self._store.read(blob.base, size)
            if base is not None:
                return blob, base
        msg = (
            f"The piece {piece.sha256} is published only as a change of pieces that this box does "
            "not have. The publisher has to publish it anew."
        )
        raise UntrustedError(msg)

    def _fetch(self, blob: Blob) -> Path:
        """Download a blob, or the rest of it, and check it before it is opened."""
        path = self._incoming / f"{blob.sha256}.part"
        have = path.stat().st_size if path.is_file() else 0
        if have > blob.size_bytes:
            path.unlink()
            have = 0
        if have < blob.size_bytes:
            self._go_on()
            with path.open("ab") as stream:
                for chunk in self._transport.read(f"{BLOBS}/{blob.sha256}", have):
                    have += len(chunk)
                    if have > blob.size_bytes:
                        break  # the hash tells
                    stream.write(chunk)
                    self._go_on()
        if have < blob.size_bytes:
            msg = (
                f"{self._transport.shown} gave {have} of {blob.size_bytes} bytes of {blob.sha256}. "
                "The rest is asked for later."
            )
            raise UnreachableError(msg)
        if have > blob.size_bytes or sha256_file(path) != blob.sha256:
            path.unlink()
            msg = (
                f"The file {blob.sha256} from {self._transport.shown} is not what was signed. It "
                "was not opened, and is asked for again later. Look who can write to the server."
            )
            raise UntrustedError(msg)
        return path


def missing_bytes(store: PieceStore, pieces: Iterable[ReleasePiece]) -> tuple[int, int]:
    """Return how many bytes of pieces are not here: downloaded at the least, and unpacked."""
    absent = [piece for piece in pieces if not store.has(piece.sha256)]
    return sum(least_bytes(store.has, each) for each in absent), sum(
        each.size_bytes for each in absent
    )


def least_bytes(has: Callable[[str], bool], piece: ReleasePiece) -> int:
    """Return the size of the smallest blob that a piece can be unpacked from here."""
    usable = [each.size_bytes for each in piece.blobs if each.base is None or has(each.base)]
    return min(usable, default=0)


def _cover(parts: list[tuple[int, int, int]], size_bytes: int) -> bool:
    """Tell whether stretches of a piece make up all of it, each byte once."""
    end = 0
    for offset, _, size in sorted(parts):
        if offset != end:
            return False
        end += size
    return end == size_bytes


def _stretches(path: Path, stretches: list[tuple[int, int]]) -> bytes:
    """Read stretches of a file, one behind the other; of one that cannot be read, nothing."""
    try:
        with path.open("rb") as stream:
            found = []
            for offset, size in stretches:
                stream.seek(offset)
                found.append(stream.read(size))
            return b"".join(found)
    except OSError:
        return b""
