"""From what a user names to shards of pictures.

What is named comes in its order, and inside it
sorted by name, so that the same inputs give the same shards.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snow_runtime.pictures.picture_files import LeftOut, examples, why_no_folder
from snow_runtime.score.errors import ScoreError
from snow_runtime.score.import_score import import_score
from snow_runtime.score.input_files import input_files, is_taken
from snow_runtime.score.locations import Location, open_random, parse_location
from snow_runtime.score.patterns import braces, has_wildcards, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from snow_runtime.score.input_files import FileKind
    from snow_runtime.score.options import ScoreOptions

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
    kind: FileKind
    paths: tuple[str, ...]
    row_groups: tuple[int, int] | None = None
    first_row: int = 0
    rows: int | None = None


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
        for found in input_files(location, listing.left_out):
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


class _Seen:
    """What earlier inputs cover, told by their names: nothing is kept of each picture."""

    def __init__(self) -> None:
        self._roots: list[tuple[str, str]] = []
        self._patterns: list[tuple[str, str]] = []

    def has(self, location: Location, path: str) -> bool:
        """Tell whether an earlier input has led to a file."""
        prefix, full = location.prefix, _full(location, path)
        if any(before == prefix and _leads_to(root, full) for before, root in self._roots):
            return True
        return any(
            before == prefix and matches(full, pattern) for before, pattern in self._patterns
        )

    def close(self, location: Location) -> None:
        """Note an input that was listed."""
        for one in _expanded(location):
            full = _full(location, one)
            if has_wildcards(one) and not os.path.lexists(one):
                self._patterns.append((location.prefix, full))
            else:
                self._roots.append((location.prefix, full))


def _leads_to(root: str, full: str) -> bool:
    """Tell whether the walk of an earlier input has come to a file, and not left it out."""
    if full == root:
        return True
    if not full.startswith(root + "/"):
        return False
    *folders, name = full[len(root) + 1 :].split("/")
    return is_taken(name) and all(why_no_folder(each) is None for each in folders)


def _full(location: Location, path: str) -> str:
    return str(Path(os.path.abspath(path))) if location.local else path  # noqa: PTH100 - links stay


def _expanded(location: Location) -> Iterable[str]:
    if location.local and os.path.lexists(location.path):
        return [location.path]
    return braces(location.path)
