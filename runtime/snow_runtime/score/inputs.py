"""From what a user names to shards of pictures.

Folders are walked as all other readers walk them. What is named comes in its order, and inside it
sorted by name, so that the same inputs give the same shards.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from snow_runtime.pictures.picture_files import LeftOut, Reason, examples
from snow_runtime.pictures.tars import is_tar
from snow_runtime.score.errors import ScoreError
from snow_runtime.score.import_score import import_score
from snow_runtime.score.locations import Location, open_random, parse_location
from snow_runtime.score.output_folder import JOB, PART, RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from snow_runtime.score.options import ScoreOptions

Kind = Literal["pictures", "tar", "parquet"]
_PARQUET: Final = (".parquet", ".pq")
_MAGIC: Final = "*?["
_PART: Final = Reason("part of a scoring job", "parts of scoring jobs")
_FIRST_ROWS: Final = 64
_ALIKE: Final = 8


@dataclass(frozen=True)
class Shard:
    """A piece of a job, which becomes one part.

    Attributes:
        input: Number of the input that it is of.
        kind: What its files are.
        paths: Files on the input's file system: any number of pictures, a tar or a Parquet file.
        row_groups: The first row group and the one behind the last, in a Parquet file.
        first_row: Number of the first row in a Parquet file.
        rows: How many pictures it has; None where only reading it tells.
    """

    input: int
    kind: Kind
    paths: tuple[str, ...]
    row_groups: tuple[int, int] | None = None
    first_row: int = 0
    rows: int | None = None


class _Found(NamedTuple):
    """A file that an input leads to."""

    path: str
    kind: Kind


@dataclass
class Listing:
    """What listing the inputs came to.

    Attributes:
        left_out: What is in their folders and is not scored.
        twice: Files that an earlier input had already.
    """

    left_out: LeftOut = field(default_factory=LeftOut)
    twice: int = 0


def shard_size(number: int, most: int) -> int:
    """Give how many pictures a shard has: the first ones few, so that a small job is shared too.

    Args:
        number: Number of the shard among those of pictures.
        most: The most that any has.
    """
    return min(most, _FIRST_ROWS << min(number // _ALIKE, 30))


def list_shards(options: ScoreOptions, listing: Listing) -> Iterator[Shard]:
    """Yield the shards of all inputs; nothing is held in memory but one shard and one folder.

    Args:
        options: The inputs, and how many pictures a shard has.
        listing: Counter of what is left out.

    Raises:
        ScoreError: An input is not there, or leads to no picture.
    """
    seen = _Seen()
    shards = 0
    for number, uri in enumerate(options.inputs):
        location = parse_location(uri)
        waiting: list[str] = []
        count, before = 0, listing.twice
        for found in _files(location, listing.left_out):
            if seen.has(location, found.path):
                listing.twice += 1
                continue
            count += 1
            if found.kind == "pictures":
                waiting.append(found.path)
                if len(waiting) == shard_size(shards, options.shard_rows):
                    yield _of_pictures(number, waiting)
                    shards, waiting = shards + 1, []
            elif found.kind == "tar":
                yield Shard(number, "tar", (found.path,))
            else:
                yield from _of_parquet(number, location, found.path, options.shard_rows)
        if waiting:
            yield _of_pictures(number, waiting)
            shards += 1
        if not count and listing.twice == before:
            there = f" What is there: {listing.left_out.summary()}." if listing.left_out else ""
            msg = (
                f"The input {uri} leads to no picture, expected pictures ({examples()}), tars or "
                f"Parquet files in it.{there}"
            )
            raise ScoreError(msg)
        seen.close(location)


def _of_pictures(number: int, paths: list[str]) -> Shard:
    return Shard(number, "pictures", tuple(paths), rows=len(paths))


def _of_parquet(number: int, location: Location, path: str, shard_rows: int) -> Iterator[Shard]:
    """Yield shards of whole row groups, each of as many rows as a shard is to have, or more."""
    pq = import_score("pyarrow.parquet")
    try:
        with open_random(location, path) as stream:
            facts = pq.read_metadata(stream)
            sizes = [facts.row_group(index).num_rows for index in range(facts.num_row_groups)]
    except (OSError, ValueError) as error:
        msg = (
            f"{location.named(path)} cannot be read as Parquet: {error}. Copy it again, or leave "
            "it out."
        )
        raise ScoreError(msg) from error
    start = rows = first_row = 0
    for index, size in enumerate(sizes):
        rows += size
        if rows >= shard_rows or index == len(sizes) - 1:
            if rows:
                yield Shard(number, "parquet", (path,), (start, index + 1), first_row, rows)
            start, first_row, rows = index + 1, first_row + rows, 0


def _files(location: Location, left_out: LeftOut) -> Iterator[_Found]:
    """Yield the files that an input leads to."""
    if location.local:
        yield from _local_files(location, left_out)
    else:
        yield from _remote_files(location, left_out)


def _local_files(location: Location, left_out: LeftOut) -> Iterator[_Found]:
    paths = [location.path] if os.path.lexists(location.path) else _matching(location.path)
    if not paths:
        raise _not_there(location)
    for path in paths:
        if Path(path).is_dir():
            yield from _walk(path, left_out)
        else:
            yield _Found(path, _kind(path) or "pictures")


def _matching(pattern: str) -> list[str]:
    """Give the local files and folders that a pattern with braces and wildcards names."""
    found: list[str] = []
    for one in braces(pattern):
        if any(sign in one for sign in _MAGIC):
            found += sorted(glob.glob(one, recursive=True))  # noqa: PTH207 - absolute ones too
        elif os.path.lexists(one):
            found.append(one)
        else:
            msg = f"The input {pattern} names {one}, which is not there. Copy it, or correct it."
            if one != pattern:
                raise ScoreError(msg)
    return found


def braces(pattern: str) -> list[str]:
    """Expand `{000..012}` and `{a,b}`, as a shell does.

    Raises:
        ScoreError: A brace is not closed.
    """
    if "{" not in pattern:
        return [pattern]
    expansion = import_score("braceexpand")
    try:
        return list(expansion.braceexpand(pattern))
    except ValueError as error:
        msg = f"{pattern} has a brace that is not closed: {error}. Write {{000..012}} or {{a,b}}."
        raise ScoreError(msg) from error


def _walk(folder: str, left_out: LeftOut) -> Iterator[_Found]:
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
                yield _Found(path, kind)


def _taken(name: str, shown: str, left_out: LeftOut, *, job: bool) -> Kind | None:
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
    kind = None if name.startswith(".") else _kind(name)
    if kind is not None:
        return kind
    return "pictures" if left_out.takes(name, shown=shown) else None


def _kind(name: str) -> Kind | None:
    if is_tar(name):
        return "tar"
    return "parquet" if name.lower().endswith(_PARQUET) else None


def _remote_files(location: Location, left_out: LeftOut) -> Iterator[_Found]:
    try:
        infos = _remote_infos(location)
    except OSError as error:
        msg = f"The input {location.uri} cannot be listed: {error}. Check the address and rights."
        raise ScoreError(msg) from error
    for info in infos:
        if info.is_file:
            yield _Found(_path(location, info), _kind(info.path) or "pictures")
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
        if not any(sign in one for sign in _MAGIC):
            found.append(system.get_file_info(one))
            continue
        fixed = []
        for piece in one.split("/"):
            if any(sign in piece for sign in _MAGIC):
                break
            fixed.append(piece)
        selector = kinds.FileSelector("/".join(fixed), recursive=True, allow_not_found=True)
        listed = [each for each in system.get_file_info(selector) if each.is_file]
        found += sorted(
            (each for each in listed if _matches(_path(location, each), one)),
            key=lambda each: each.path,
        )
    missing = [each.path for each in found if each.type == kinds.FileType.NotFound]
    if missing or not found:
        raise _not_there(location, location.named(missing[0]) if missing else None)
    return found


def _matches(path: str, pattern: str) -> bool:
    """Compare piece by piece: a wildcard does not reach over a slash, `**` does."""
    if "**" in pattern:
        return fnmatch.fnmatchcase(path, pattern.replace("**/", "*"))
    pieces, wanted = path.split("/"), pattern.split("/")
    return len(pieces) == len(wanted) and all(map(fnmatch.fnmatchcase, pieces, wanted))


def _remote_walk(location: Location, folder: str, left_out: LeftOut) -> Iterator[_Found]:
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
            yield _Found(_path(location, info), kind)


def _path(location: Location, info: Any) -> str:
    """Give a path as the input has it: some file systems put a slash before it."""
    path: str = info.path
    return path if location.path.startswith("/") else path.lstrip("/")


def _not_there(location: Location, missing: str | None = None) -> ScoreError:
    return ScoreError(
        f"The input {missing or location.uri} is not there, expected a folder, a picture, a tar, a "
        "Parquet file or a pattern of them. Check the path."
    )


class _Seen:
    """What earlier inputs cover, told by their names: nothing is kept of each picture."""

    def __init__(self) -> None:
        self._roots: list[tuple[str, str]] = []
        self._patterns: list[tuple[str, str]] = []

    def has(self, location: Location, path: str) -> bool:
        """Tell whether an earlier input has led to a file."""
        prefix, full = location.prefix, _full(location, path)
        if any(
            before == prefix and (full == root or (full.startswith(root + "/")))
            for before, root in self._roots
        ):
            return True
        return any(
            before == prefix and _matches(full, pattern) for before, pattern in self._patterns
        )

    def close(self, location: Location) -> None:
        """Note an input that was listed."""
        for one in _expanded(location):
            full = _full(location, one)
            if any(sign in one for sign in _MAGIC) and not os.path.lexists(one):
                self._patterns.append((location.prefix, full))
            else:
                self._roots.append((location.prefix, full))


def _expanded(location: Location) -> Iterable[str]:
    if location.local and os.path.lexists(location.path):
        return [location.path]
    return braces(location.path)


def _full(location: Location, path: str) -> str:
    return str(Path(os.path.abspath(path))) if location.local else path  # noqa: PTH100 - links stay
