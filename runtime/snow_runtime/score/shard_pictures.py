"""The pictures of a shard, one after another, as they lie in files, a tar or Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.errors import InputError
from snow_runtime.pictures.picture_files import why_no_picture
from snow_runtime.pictures.tars import MOST_BYTES, read_members
from snow_runtime.score.errors import ShardError
from snow_runtime.score.job_picture import JobPicture
from snow_runtime.score.locations import Location, open_stream, parse_location
from snow_runtime.score.parquet_rows import read_parquet_pictures

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from snow_runtime.pictures.tars import Member
    from snow_runtime.score.inputs import Shard
    from snow_runtime.score.options import ScoreOptions


def read_shard_pictures(
    shard: Shard, options: ScoreOptions, skipped: Collection[int] = ()
) -> Iterator[JobPicture]:
    """Yield the pictures of a shard, in its order.

    Args:
        shard: The shard.
        options: The inputs, and which columns are read.
        skipped: Numbers of pictures whose bytes nobody wants.

    Raises:
        ShardError: A tar or Parquet file is damaged, or is not there any more.
    """
    location = parse_location(options.inputs[shard.input])
    if shard.kind == "pictures":
        for path in shard.paths:
            yield JobPicture(location.named(path), location, path)
    elif shard.kind == "tar":
        yield from _of_tar(location, shard.paths[0], skipped)
    else:
        yield from read_parquet_pictures(location, shard, options)


def _of_tar(location: Location, path: str, skipped: Collection[int]) -> Iterator[JobPicture]:
    name, number = location.named(path), 0

    def wanted(member: str) -> bool:
        return _is_picture(member) and number not in skipped

    try:
        with open_stream(location, path) as stream:
            for member in read_members(stream, name, wanted=wanted):
                if _is_picture(member.name):
                    number += 1
                    yield _picture(f"{name}#{member.name}", member)
    except (InputError, OSError) as error:
        msg = str(error) if isinstance(error, InputError) else f"{name} cannot be read: {error}."
        raise ShardError(msg) from error


def _is_picture(member: str) -> bool:
    return why_no_picture(member.rpartition("/")[2]) is None


def _picture(name: str, member: Member) -> JobPicture:
    if member.size > MOST_BYTES:
        error = f"{name} has {member.size:,} bytes, expected {MOST_BYTES:,} at most."
        return JobPicture(name, error=error)
    return JobPicture(name, data=member.content)
