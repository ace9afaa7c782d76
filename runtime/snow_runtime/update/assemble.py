"""A release's files out of pieces: beside those that are in use, whole or not there."""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from snow_runtime.files import sha256_file, sync_folder
from snow_runtime.update.errors import NoSpaceError, UntrustedError
from snow_runtime.update.pieces import Downloads, PieceStore, missing_bytes
from snow_runtime.update.release import RECORD
from snow_runtime.update.signed import sync_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_runtime.update.box import Box
    from snow_runtime.update.release import Release, ReleaseFile
    from snow_runtime.update.transport import Transport

RESERVE_BYTES: Final = 1 << 24
"""What an update leaves free on the disk."""


def assemble(
    box: Box,
    release: Release,
    record: bytes,
    name: str,
    transport: Transport,
    *,
    go_on: Callable[[], None] = lambda: None,
) -> Path:
    """Put a release together as a generation.

    Args:
        box: The box's folder.
        release: The release.
        record: Its document, as it was signed.
        name: Name of the generation.
        transport: Where the publication lies.
        go_on: Function that is called before each download and within it; what it raises ends it.

    Returns:
        The generation's folder.

    Raises:
        UnreachableError: A piece cannot be read there now; what has come is kept.
        UntrustedError: A piece is not what was signed.
        NoSpaceError: The disk has no room.
        OSError: The disk is full all the same.
    """
    target = box.generations / name
    if is_whole_file(target, release, record):
        return target
    shutil.rmtree(target, ignore_errors=True)
    store = PieceStore(box)
    _check_room(box, store, release)
    sizes = {piece.sha256: piece.size_bytes for _, kept in box.kept() for piece in kept.pieces}
    downloads = Downloads(store, box.incoming, transport, sizes, go_on)
    linked = {file.path: _same_file(store, file) for file in release.files}
    for number in _needed(release, {path for path, same in linked.items() if same is not None}):
        downloads.get(release.pieces[number])
    aside = box.generations / f".{name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for file in release.files:
        _put(store, release, file, aside, linked[file.path])
    (aside / RECORD).write_bytes(record)
    sync_all(aside)
    aside.replace(target)
    sync_folder(box.generations)
    return target


def is_whole_file(folder: Path, release: Release, record: bytes) -> bool:
    """Tell whether a generation is here, and each of its files as it was signed."""
    try:
        return (folder / RECORD).read_bytes() == record and all(
            sha256_file(folder / file.path) == file.sha256 for file in release.files
        )
    except OSError:
        return False


def _check_room(box: Box, store: PieceStore, release: Release) -> None:
    """Look whether the disk has room before anything is downloaded.

    Raises:
        NoSpaceError: It has none.
    """
    _, unpacked = missing_bytes(store, release.pieces)
    new = sum(each.size_bytes for each in release.files if not store.whole_files(each.sha256))
    needed = unpacked + new + RESERVE_BYTES
    free = shutil.disk_usage(box.folder).free
    if free < needed:
        msg = (
            f"{box.folder} has {free / 1e6:.1f} MB free, and the release {release.name} needs "
            f"{needed / 1e6:.1f} MB while it is put together. The present one goes on; make room."
        )
        raise NoSpaceError(msg)


def _needed(release: Release, linked: set[str]) -> list[int]:
    """Return the numbers of the pieces of files that are not here as a whole."""
    files = (file for file in release.files if file.path not in linked)
    return sorted({part.piece for file in files for part in file.parts})


def _same_file(store: PieceStore, file: ReleaseFile) -> Path | None:
    """Return a file of another generation with the same content; it is read to be sure."""
    for path in store.whole_files(file.sha256):
        if sha256_file(path) == file.sha256:
            return path
    return None


def _put(
    store: PieceStore, release: Release, file: ReleaseFile, folder: Path, same: Path | None
) -> None:
    """Write a file of a release, or link it to the same one of another generation.

    Raises:
        UntrustedError: The pieces do not make the file.
        OSError: The disk is full.
    """
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if same is not None:
        _link(same, path)
        return
    digest = hashlib.sha256()

    @lru_cache(maxsize=2)  # the structure of a graph and one of its tensors take turns
    def piece_of(number: int) -> bytes:
        piece = release.pieces[number]
        return store.read(piece.sha256, piece.size_bytes) or b""

    with path.open("xb") as stream:
        for part in file.parts:
            content = piece_of(part.piece)[part.offset : part.offset + part.size_bytes]
            digest.update(content)
            stream.write(content)
    if digest.hexdigest() != file.sha256:
        msg = (
            f"The pieces of {file.path} do not make the file that was signed in {release.name}. "
            "The publisher has to publish it anew; look at this disk too."
        )
        raise UntrustedError(msg)
    path.chmod(0o444)


def _link(same: Path, path: Path) -> None:
    try:
        os.link(same, path)
    except OSError:  # a file system without links
        shutil.copyfile(same, path)
