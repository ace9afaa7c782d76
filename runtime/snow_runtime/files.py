"""Writing files that are either complete or absent, and hashing them."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_CHUNK_BYTES = 1 << 20


@overload
def atomic_write(
    path: str | os.PathLike[str], mode: Literal["wb"] = "wb"
) -> AbstractContextManager[IO[bytes]]: ...
@overload
def atomic_write(
    path: str | os.PathLike[str], mode: Literal["w"]
) -> AbstractContextManager[IO[str]]: ...
def atomic_write(
    path: str | os.PathLike[str], mode: Literal["wb", "w"] = "wb"
) -> AbstractContextManager[IO[Any]]:
    """Open ``path`` for writing such that readers see the old file or the whole new one.

    The content goes to a hidden file in the same folder, which takes the name ``path`` only once
    it lies on the disk, also through a power cut. A ``with`` block left by an exception leaves
    the old file alone and no temporary file behind. A symbolic link is written through.

    Args:
        path: The file to write; its folder must exist.
        mode: ``"wb"`` for bytes, ``"w"`` for UTF-8 text.

    Raises:
        OSError: The folder does not exist or cannot be written to, the disk is full, or something
            else than a file is there, such as a device, which would be gone.

    """
    return _replacing(Path(os.path.realpath(path)), mode.replace("w", "x"))


@contextmanager
def _replacing(target: Path, mode: str) -> Iterator[IO[Any]]:
    _refuse_other_than_file(target)
    # Opened by hand, not by tempfile: the file then has the permissions that the umask gives,
    # rather than tempfile's 0600, which a service account could not read.
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    stream = temporary.open(mode, encoding=None if "b" in mode else "utf-8")
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _refuse_other_than_file(target: Path) -> None:
    """Refuse to put a file in the place of something else: root could so replace /dev/null.

    Raises:
        OSError: It is there, and no plain file.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "No plain file, and it would be replaced", str(target))


def sync_folder(folder: Path) -> None:
    """Make the renaming itself durable; only POSIX systems can open a folder for that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: str | os.PathLike[str], failure: type[Exception], advice: str) -> Iterator[None]:
    """Within it, what the system refuses becomes an error that says which file, and what to do.

    Args:
        path: What is written.
        failure: What to raise.
        advice: A sentence or two.

    Raises:
        Exception: A `failure`, for an OSError.
    """
    try:
        yield
    except OSError as error:
        msg = f"{path} cannot be written: {error}. {advice}"
        raise failure(msg) from error


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Give the SHA-256 of a file's content as 64 lower-case hexadecimal digits.

    Raises:
        OSError: The file cannot be read.

    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def free_bytes(folder: str | os.PathLike[str]) -> int:
    """Give how much room a folder's disk has for this user; 0 where that cannot be known."""
    try:
        found: Any = os.statvfs(folder)
    except OSError:
        return 0
    return int(found.f_bavail * found.f_frsize)
