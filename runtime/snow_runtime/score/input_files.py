"""The files that an input leads to, on this machine or in an object store.

Folders are walked as all other readers walk them.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from snow_runtime.pictures.picture_files import Reason, why_no_picture
from snow_runtime.pictures.tars import is_tar
from snow_runtime.score.errors import ScoreError
from snow_runtime.score.import_score import import_score
from snow_runtime.score.output_folder import JOB, PART, RECORD
from snow_runtime.score.patterns import braces, fixed_folder, has_wildcards, matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.pictures.picture_files import LeftOut
    from snow_runtime.score.locations import Location

FileKind = Literal["pictures", "tar", "parquet"]
_PARQUET: Final = (".parquet", ".pq")
_PART: Final = Reason("part of a scoring job", "parts of scoring jobs")


class InputFile(NamedTuple):
    """A file that an input leads to.

    Attributes:
        path: Path on the input's file system.
        kind: What it is.
    """

    path: str
    kind: FileKind


def input_files(location: Location, left_out: LeftOut) -> Iterator[InputFile]:
    """Yield the files that an input leads to.

    Args:
        location: The input.
        left_out: Counter of what is there and is not scored.

    Raises:
        ScoreError: It is not there, or cannot be listed.
    """
    if location.local:
        yield from _local_files(location, left_out)
    else:
        yield from _remote_files(location, left_out)


def _local_files(location: Location, left_out: LeftOut) -> Iterator[InputFile]:
    paths = [location.path] if os.path.lexists(location.path) else _matching(location.path)
    if not paths:
        raise _not_there(location)
    for path in paths:
        if Path(path).is_dir():
            yield from _walk(path, left_out)
        else:
            yield InputFile(path, _kind(path) or "pictures")


def _matching(pattern: str) -> list[str]:
    """Give the local files and folders that a pattern with braces and wildcards names."""
    found: list[str] = []
    for one in braces(pattern):
        if has_wildcards(one):
            found += sorted(glob.glob(one, recursive=True))  # noqa: PTH207 - absolute ones too
        elif os.path.lexists(one):
            found.append(one)
        else:
            msg = f"The input {pattern} names {one}, which is not there. Copy it, or correct it."
            if one != pattern:
                raise ScoreError(msg)
    return found


def _walk(folder: str, left_out: LeftOut) -> Iterator[InputFile]:
    """Yield the files in a folder and those below it, sorted; a folder at a time is in memory."""
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        msg = f"The folder {error.filename} cannot be read: {error.strerror}. Give access to it."
        raise ScoreError(msg) from error

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        job = JOB in folders and Path(parent, RECORD).is_file()
        folders[:] = sorted(
            name
            for name in folders
            if not (job and name == JOB) and left_out.enters(name, shown=str(Path(parent, name)))
        )
        for name in sorted(files):
            path = str(Path(parent, name))
            kind = _taken(name, path, left_out, job=job)
            if kind is not None:
                yield InputFile(path, kind)


def _taken(name: str, shown: str, left_out: LeftOut, *, job: bool) -> FileKind | None:
    """Say what a file of a folder is; count it if it is nothing to score.

    Args:
        name: Name of the file.
        shown: What to call it.
        left_out: Counter of what is left out.
        job: Whether a scoring job has its record in the folder.
    """
    if job and PART.fullmatch(name):
        left_out.note(_PART, shown)
        return None
    kind = _kind_in_folder(name)
    if kind is not None:
        return kind
    return "pictures" if left_out.takes(name, shown=shown) else None


def is_taken(name: str) -> bool:
    """Tell whether a file of this name, in a folder that is looked into, is scored."""
    return _kind_in_folder(name) is not None or why_no_picture(name) is None


def _kind_in_folder(name: str) -> FileKind | None:
    return None if name.startswith(".") else _kind(name)


def _kind(name: str) -> FileKind | None:
    if is_tar(name):
        return "tar"
    return "parquet" if name.lower().endswith(_PARQUET) else None


def _remote_files(location: Location, left_out: LeftOut) -> Iterator[InputFile]:
    try:
        infos = _remote_infos(location)
    except OSError as error:
        msg = f"The input {location.uri} cannot be listed: {error}. Check the address and rights."
        raise ScoreError(msg) from error
    for info in infos:
        if info.is_file:
            yield InputFile(_path(location, info), _kind(info.path) or "pictures")
        else:
            yield from _remote_walk(location, info.path, left_out)


def _remote_infos(location: Location) -> list[Any]:
    """Give what a URI names: one file or folder, or several where it is a pattern."""
    system, kinds = location.file_system, import_score("pyarrow.fs")
    info = system.get_file_info(location.path)
    if info.type != kinds.FileType.NotFound:
        return [info]
    found: list[Any] = []
    for one in braces(location.path):
        if not has_wildcards(one):
            found.append(system.get_file_info(one))
            continue
        selector = kinds.FileSelector(fixed_folder(one), recursive=True, allow_not_found=True)
        listed = [each for each in system.get_file_info(selector) if each.is_file]
        found += sorted(
            (each for each in listed if matches(_path(location, each), one)),
            key=lambda each: each.path,
        )
    missing = [each.path for each in found if each.type == kinds.FileType.NotFound]
    if missing or not found:
        raise _not_there(location, location.named(missing[0]) if missing else None)
    return found


def _remote_walk(location: Location, folder: str, left_out: LeftOut) -> Iterator[InputFile]:
    kinds = import_score("pyarrow.fs")
    try:
        listed = location.file_system.get_file_info(kinds.FileSelector(folder))
    except OSError as error:
        msg = f"{location.named(folder)} cannot be listed: {error}. Check the address and rights."
        raise ScoreError(msg) from error
    job = any(each.base_name == JOB and not each.is_file for each in listed)
    for info in sorted(listed, key=lambda each: (not each.is_file, each.base_name)):
        shown = location.named(_path(location, info))
        if not info.is_file:
            if left_out.enters(info.base_name, shown=shown):
                yield from _remote_walk(location, info.path, left_out)
            continue
        kind = _taken(info.base_name, shown, left_out, job=job)
        if kind is not None:
            yield InputFile(_path(location, info), kind)


def _path(location: Location, info: Any) -> str:
    """Give a path as the input has it: some file systems put a slash before it."""
    path: str = info.path
    return path if location.path.startswith("/") else path.lstrip("/")


def _not_there(location: Location, missing: str | None = None) -> ScoreError:
    return ScoreError(
        f"The input {missing or location.uri} is not there, expected a folder, a picture, a tar, a "
        "Parquet file or a pattern of them. Check the path."
    )
