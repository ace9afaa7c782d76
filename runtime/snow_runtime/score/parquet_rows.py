"""The pictures of a Parquet file: their bytes, or their paths, in a column."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from snow_runtime.score.errors import ScoreError, ShardError
from snow_runtime.score.import_score import import_score
from snow_runtime.score.job_picture import JobPicture
from snow_runtime.score.locations import Location, open_random, parse_location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.score.inputs import Shard
    from snow_runtime.score.options import ScoreOptions

_ROWS: Final = 16
_PATHS: Final = ("path", "file", "file_name", "filename", "filepath", "file_path", "uri", "url")
_IDS: Final = ("id", "key", "__key__")
_BUFFER_BYTES: Final = 1 << 20


class _Columns(NamedTuple):
    """Where the pictures are.

    Attributes:
        picture: Column of their bytes or paths.
        field: The field of it that has the bytes, where it is a struct.
        bytes: Whether it has bytes, and not paths.
        id: Column of their ids; None where there is none.
    """

    picture: str
    field: str | None
    bytes: bool
    id: str | None


def read_parquet_pictures(
    location: Location, shard: Shard, options: ScoreOptions
) -> Iterator[JobPicture]:
    """Yield the pictures of some row groups; a few rows at a time are in memory.

    Raises:
        ShardError: The file cannot be read, or it is not told which column has the pictures.
    """
    pq = import_score("pyarrow.parquet")
    path, name = shard.paths[0], location.named(shard.paths[0])
    groups = range(*shard.row_groups) if shard.row_groups else None
    number = shard.first_row
    try:
        with open_random(location, path) as stream:
            file = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            columns = find_columns(file.schema_arrow, name, options)
            wanted = [columns.picture] if columns.id is None else [columns.picture, columns.id]
            for batch in file.iter_batches(_ROWS, row_groups=groups, columns=wanted):
                pictures = batch.column(batch.schema.get_field_index(columns.picture))
                ids = None
                if columns.id is not None:
                    ids = batch.column(batch.schema.get_field_index(columns.id))
                for row in range(batch.num_rows):
                    given = ids[row].as_py() if ids is not None else None
                    yield _picture(
                        location, path, columns, pictures[row].as_py(), (given, number + row)
                    )
                number += batch.num_rows
    except (OSError, ValueError, import_score("pyarrow").ArrowException) as error:
        msg = (
            f"{name} cannot be read as Parquet behind row {number}: {error}. Copy it again, then "
            "run the same command."
        )
        raise ShardError(msg) from error


def find_columns(schema: Any, name: str, options: ScoreOptions) -> _Columns:
    """Find the columns of pictures and ids in a schema of pyarrow's.

    Raises:
        ShardError: It has none that could be them, or several; the message says what to give.
    """
    there = list(schema.names)
    for given, option in ((options.column, "--column"), (options.id_column, "--id-column")):
        if given is not None and given not in there:
            msg = f"{name} has no column {given!r}, expected one of {', '.join(there)}: {option}."
            raise ShardError(msg)
    picture = options.column or _picture_column(schema, name, options.id_column)
    chosen = options.id_column or next((each for each in _IDS if each in there), None)
    if any(there.count(each) > 1 for each in (picture, chosen)):
        msg = f"{name} has two columns of one name: {', '.join(there)}. Write it with others."
        raise ShardError(msg)
    kind = schema.field(picture).type
    types = import_score("pyarrow").types
    field = None
    if types.is_struct(kind):
        field = "bytes" if kind.get_field_index("bytes") >= 0 else None
        kind = kind.field(field).type if field else kind
    kind = kind.value_type if types.is_dictionary(kind) else kind
    has_bytes = _is_bytes(types, kind)
    if not has_bytes and not (types.is_string(kind) or types.is_large_string(kind)):
        msg = (
            f"The column {picture!r} of {name} is of {kind}, expected the bytes of pictures or "
            "their paths. Give another one as --column."
        )
        raise ShardError(msg)
    return _Columns(picture, field, has_bytes, chosen)


def _picture_column(schema: Any, name: str, id_column: str | None) -> str:
    types = import_score("pyarrow").types
    ids = {*_IDS, id_column}
    found = [
        each.name for each in schema if _holds_bytes(types, each.type) and each.name not in ids
    ]
    if not found:
        found = [each.name for each in schema if each.name.lower() in _PATHS]
    if len(found) != 1:
        seen = f"several could be: {', '.join(found)}" if found else "none looks so"
        msg = (
            f"{name} does not say which column has the pictures: {seen}; it has "
            f"{', '.join(schema.names)}. Name one that has bytes or paths: --column NAME."
        )
        raise ShardError(msg)
    return str(found[0])


def _holds_bytes(types: Any, kind: Any) -> bool:
    if types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_bytes(types, kind.field(place).type)
    return _is_bytes(types, kind)


def _is_bytes(types: Any, kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _picture(
    location: Location, path: str, columns: _Columns, value: Any, row: tuple[object, int]
) -> JobPicture:
    given, number = row
    name = f"{location.named(path)}#{number}"
    named = _named(given)
    if columns.field is not None and value is not None:
        value = value[columns.field] or value.get("path")
    if not value:
        what = "bytes, expected a" if columns.bytes else "path, expected that of a"
        return JobPicture(named or name, error=f"{name} has no {what} picture.")
    if isinstance(value, bytes):
        return JobPicture(named or name, data=value)
    try:
        place = parse_location(_absolute(location, path, value))
    except ScoreError as error:
        return JobPicture(named or value, error=str(error))
    return JobPicture(named or value, place, place.path)


def _named(given: object) -> str | None:
    """Give an id as a text; None where there is none."""
    if isinstance(given, bytes):
        return given.decode("utf-8", "backslashreplace")
    return None if given is None else str(given)


def _absolute(location: Location, path: str, value: str) -> str:
    """Give the whole path of a picture, which may be named from the Parquet file's folder."""
    if "://" in value or value.startswith("/"):
        return value
    return location.named(posixpath.join(posixpath.dirname(path), value)) + location.options
