"""From the text after `--data` to a data set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.data.pictures import Splits

_KINDS = (
    *("imagefolder", "food101", "dtd", "stanfordcars", "cub200", "stanford40", "webdataset"),
    "collected",
    *("csv", "demo"),
)


@dataclass(frozen=True)
class DataSpec:
    """What to open.

    Attributes:
        kind: Kind of the data, which names its reader.
        location: A folder or file, or the question of a demo.
        options: What follows a `?`, for `demo`, `csv` and `collected` only: a folder's name may
            hold one. Of `csv` a column's name is taken as it is, with every sign but `&separator=`.
    """

    kind: str
    location: str
    options: Mapping[str, str] = field(default_factory=dict)


def parse_spec(spec: str) -> DataSpec:
    """Read `KIND:LOCATION`, `csv:FILE?label=COLUMN`, `demo:QUESTION?option=value&option=value`.

    Of `csv` also `?labels=COLUMN,COLUMN` and `?label=COLUMN&separator=SIGN`, and of `collected`
    `?question=NAME`.

    Raises:
        DataError: The kind is unknown, or the location or an option is missing or given twice.
    """
    kind, colon, location = str(spec).partition(":")  # a path is one, of no kind
    if not colon or kind not in _KINDS:
        msg = f'"{spec}" names no known kind of data; {_expected()}. Name one.'
        raise DataError(msg)
    options: dict[str, str] = {}
    if kind == "demo":
        location, _, query = location.partition("?")
        options = _parse_options(spec, query)
    elif kind == "csv":  # a column is named as it stands there, with any sign that it has in it
        location, mark, query = location.partition("?")
        options = _csv_options(query) if mark else {}
    elif kind == "collected":
        location, _, query = location.partition("?")
        options = _parse_options(spec, query)
    if not location:
        msg = f'"{spec}" names nothing after "{kind}:"; {_expected()}. Complete it.'
        raise DataError(msg)
    return DataSpec(kind, location, options)


def open_data(spec: str, *, seed: int = 0, download: bool = False) -> Splits:
    """Open the data set that `spec` names.

    Args:
        spec: `imagefolder:PATH`, `food101:ROOT`, `dtd:ROOT`, `stanfordcars:ROOT`, `cub200:PATH`,
            `stanford40:PATH`, `webdataset:PATTERN`, `collected:FILE?question=NAME`,
            `csv:FILE?label=COLUMN` or `demo:QUESTION`, the last with options such as
            `demo:shape?train=4000&size=64`. Pictures have any number of labels with
            `csv:FILE?labels=COLUMN,COLUMN` and `csv:FILE?label=COLUMN&separator=;`.
        seed: Seed of the split of data that has none of its own.
        download: Whether to fetch the data first, where torchvision can; the other kinds ignore it.

    Returns:
        The data set; its remarks say what was left out, which pictures are in two splits or under
        two labels, and which labels look like a mistake.

    Raises:
        DataError: The spec or the data can't be used; the message says why and what to do.
        snow_runtime.errors.MissingDependencyError: A reader needs a package that isn't there.
    """
    from snow_deploy.data.duplicates import alike_remarks
    from snow_deploy.data.label_remarks import label_remarks

    parsed = parse_spec(spec)
    try:
        splits = _read(parsed, seed, download=download)
        doubts = (*label_remarks(splits.labels), *alike_remarks(splits))
    except OSError as error:  # of a file amid a listing: readers name what they expect themselves
        where = f" {error.filename}" if error.filename else ""
        msg = f"{spec} cannot be read:{where}: {error.strerror}. Check access to it, and its disk."
        raise DataError(msg) from error
    return replace(splits, remarks=(*splits.remarks, *doubts))


def _csv_options(query: str) -> dict[str, str]:
    name, _, value = query.partition("=")
    column, separates, separator = value.rpartition("&separator=")
    if name == "label" and separates:
        return {name: column, "separator": separator}
    return {name: value}


def _parse_options(spec: str, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        msg = (
            f'Cannot read the options of "{spec}", expected name=value&name=value after the "?". '
            "Correct them."
        )
        raise DataError(msg) from error
    options = dict(pairs)
    if len(options) != len(pairs):
        msg = f'"{spec}" gives an option twice, expected each once. Remove one.'
        raise DataError(msg)
    return options


def _expected() -> str:
    named = {
        "collected": "FILE?question=NAME",
        "csv": "FILE?label=COLUMN",
        "demo": "QUESTION",
        "webdataset": "PATTERN",
    }
    return "expected " + ", ".join(f"{kind}:{named.get(kind, 'PATH')}" for kind in _KINDS)


def _read(spec: DataSpec, seed: int, *, download: bool) -> Splits:
    """Let a reader read; each is imported when it is asked for: torchvision's take a second."""
    if spec.kind in ("demo", "webdataset"):
        return _read_no_path(spec, seed)
    path = _path(spec.location)
    if spec.kind in ("csv", "collected"):
        return _read_with_options(spec, path, seed)
    if spec.kind == "imagefolder":
        from snow_deploy.data.imagefolder import read_imagefolder

        return read_imagefolder(path, seed=seed)
    if spec.kind == "cub200":
        from snow_deploy.data.cub200 import read_cub200

        return read_cub200(path)
    if spec.kind == "stanford40":
        from snow_deploy.data.stanford40 import read_stanford40

        return read_stanford40(path)
    from snow_deploy.data import torchvision_sets

    readers = {
        "food101": torchvision_sets.read_food101,
        "dtd": torchvision_sets.read_dtd,
        "stanfordcars": torchvision_sets.read_stanford_cars,
    }
    return readers[spec.kind](path, download=download)


def _read_with_options(spec: DataSpec, path: Path, seed: int) -> Splits:
    """Read a file that answers several questions."""
    if spec.kind == "csv":
        from snow_deploy.data.csv_table import read_csv

        return read_csv(path, spec.options, seed=seed)
    from snow_deploy.data.collected import read_collected

    return read_collected(path, spec.options, seed=seed)


def _read_no_path(spec: DataSpec, seed: int) -> Splits:
    """Read what is named by no single path: a question, or a pattern."""
    if spec.kind == "demo":
        from snow_deploy.data.demo import read_demo

        return read_demo(spec.location, spec.options)
    from snow_deploy.data.webdataset import read_webdataset

    return read_webdataset(spec.location, seed=seed)


def _path(location: str) -> Path:
    try:
        return Path(location).expanduser()
    except RuntimeError as error:
        msg = f'"{location}" begins at a home that this system does not know. Give the whole path.'
        raise DataError(msg) from error
