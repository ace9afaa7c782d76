"""The shards of a job, listed once: a file of lines, and another of where each line begins.

So the split stays the same when a job goes on, whatever was added to the folders meanwhile, and a
process reads the one shard that it works on.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from snow_runtime.score.errors import OutputError
from snow_runtime.score.inputs import Shard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snow_runtime.score.output_folder import OutputFolder

_LINES: Final = "_job/shards.jsonl"
_PLACES: Final = "_job/shards.places"
_ENTRY: Final = struct.Struct("<Qq")  # where a line begins; its rows, -1 if not known


@dataclass(frozen=True)
class ShardList:
    """The shards of a job.

    Attributes:
        output: Folder that the plan lies in.
        places: Where each shard's line begins, and at the end where the last one ends, in bytes.
        rows: How many pictures each shard has; None where only reading it tells.
    """

    output: OutputFolder
    places: tuple[int, ...]
    rows: tuple[int | None, ...]

    def __len__(self) -> int:
        """Return how many shards there are."""
        return len(self.rows)

    def shard(self, number: int) -> Shard:
        """Read one shard.

        Raises:
            OutputError: It cannot be read.
        """
        return read_shard(self.output, self.places[number], self.places[number + 1])


def read_shard(output: OutputFolder, begin: int, end: int) -> Shard:
    """Read the shard whose line is between two places.

    Raises:
        OutputError: It cannot be read.
    """
    try:
        with output.open(_LINES) as stream:
            stream.seek(begin)
            fields = json.loads(bytes(stream.read(end - begin)))
        groups = fields.pop("row_groups")
        paths = tuple(fields.pop("paths"))
        return Shard(paths=paths, row_groups=tuple(groups) if groups else None, **fields)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(output, error) from error


def write_shard_list(output: OutputFolder, shards: Iterable[Shard]) -> ShardList:
    """Write the shards of a job.

    Raises:
        OutputError: The output refuses it.
        ScoreError: The shards cannot be listed.
    """
    places, rows = [0], list[int | None]()
    with output.writing(_LINES) as stream:
        for shard in shards:
            # Names that are not UTF-8 come as lone surrogates, which JSON keeps when escaped.
            line = json.dumps(asdict(shard)).encode("ascii") + b"\n"
            stream.write(line)
            places.append(places[-1] + len(line))
            rows.append(shard.rows)
    entries = zip(places, [*rows, None], strict=True)
    output.write(
        _PLACES,
        b"".join(_ENTRY.pack(place, -1 if count is None else count) for place, count in entries),
    )
    return ShardList(output, tuple(places), tuple(rows))


def read_shard_list(output: OutputFolder) -> ShardList | None:
    """Read the shards of a job; None where they were not listed to the end.

    Raises:
        OutputError: It is damaged, or cannot be read.
    """
    content = output.read(_PLACES)
    if content is None:
        return None
    try:
        entries = list(_ENTRY.iter_unpack(content))
    except struct.error as error:
        raise _damaged(output, error) from error
    places = tuple(place for place, _ in entries)
    rows = tuple(None if count < 0 else count for _, count in entries[:-1])
    return ShardList(output, places, rows)


def forget_shard_list(output: OutputFolder) -> None:
    """Have the inputs listed anew, on the local disk.

    Raises:
        OutputError: It cannot be removed.
    """
    output.forget(_PLACES)


def _damaged(output: OutputFolder, error: Exception) -> OutputError:
    return OutputError(
        f"The list of shards in {output.uri} cannot be read: {error}. Score into another folder, "
        "or remove this one."
    )
