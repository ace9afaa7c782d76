"""From the text after `--data` to a data set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snow_deploy.data.pictures import Splits


@dataclass(frozen=True)
class DataSpec:
    """What to open.

    Attributes:
        kind: Kind of the data, which names its reader.
        location: A folder or file, or the question of a demo.
        options: What follows a `?`, for `demo` and `csv` only: a folder's name may hold one.
    """

    kind: str
    location: str
    options: Mapping[str, str] = field(default_factory=dict)


def parse_spec(spec: str) -> DataSpec:
    """Read `KIND:LOCATION`, `csv:FILE?label=COLUMN`, `demo:QUESTION?option=value&option=value`.

    Raises:
        DataError: The kind is unknown, or the location or an option is missing or given twice.
    """
    kind, colon, location = spec.partition(":")
    if not colon or kind not in _READERS:
        msg = f'"{spec}" names no known kind of data; {_expected()}. Name one.'
        raise DataError(msg)
    options: dict[str, str] = {}
    if kind == "demo":
        location, _, query = location.partition("?")
        options = _parse_options(spec, query)
    elif kind == "csv":  # a column is named as it stands there, with any sign that it has in it
        location, mark, query = location.partition("?")
        name, _, column = query.partition("=")
        options = {name: column} if mark else {}
    if not location:
        msg = f'"{spec}" names nothing after "{kind}:"; {_expected()}. Complete it.'
        raise DataError(msg)
    return DataSpec(kind, location, options)


def open_data(spec: str, *, seed: int = 0, download: bool = False) -> Splits:
    """Open the data set that `spec` names.

    Args:
        spec: `imagefolder:PATH`, `food101:ROOT`, `dtd:ROOT`, `stanfordcars:ROOT`, `cub200:PATH`,
            `stanford40:PATH`, `csv:FILE?label=COLUMN` or `demo:QUESTION`, the last with options
            such as `demo:shape?train=4000&size=64`.
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
    splits = _READERS[parsed.kind](_Request(parsed, seed, download))
    doubts = (*label_remarks(splits.labels), *alike_remarks(splits))
    return replace(splits, remarks=(*splits.remarks, *doubts))


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
    named = {"demo": "QUESTION", "csv": "FILE?label=COLUMN"}
    return "expected " + ", ".join(f"{kind}:{named.get(kind, 'PATH')}" for kind in _READERS)


@dataclass(frozen=True)
class _Request:
    """What a reader gets to know.

    Attributes:
        spec: As parsed.
        seed: Of the split, for data that has none of its own.
        download: Whether to fetch the data first, where that is possible.
    """

    spec: DataSpec
    seed: int
    download: bool

    @property
    def folder(self) -> Path:
        """The location as a path, of a folder or file.

        Raises:
            DataError: It begins at a home that the system doesn't know.
        """
        try:
            return Path(self.spec.location).expanduser()
        except RuntimeError as error:
            msg = (
                f'"{self.spec.location}" begins at a home that this system does not know. '
                "Give the whole path."
            )
            raise DataError(msg) from error


# Each reader is imported when it is asked for: torchvision's take a second to import.


def _imagefolder(request: _Request) -> Splits:
    from snow_deploy.data.imagefolder import read_imagefolder

    return read_imagefolder(request.folder, seed=request.seed)


def _food101(request: _Request) -> Splits:
    from snow_deploy.data.torchvision_sets import read_food101

    return read_food101(request.folder, download=request.download)


def _dtd(request: _Request) -> Splits:
    from snow_deploy.data.torchvision_sets import read_dtd

    return read_dtd(request.folder, download=request.download)


def _stanford_cars(request: _Request) -> Splits:
    from snow_deploy.data.torchvision_sets import read_stanford_cars

    return read_stanford_cars(request.folder, download=request.download)


def _cub200(request: _Request) -> Splits:
    from snow_deploy.data.cub200 import read_cub200

    return read_cub200(request.folder)


def _stanford40(request: _Request) -> Splits:
    from snow_deploy.data.stanford40 import read_stanford40

    return read_stanford40(request.folder)


def _csv(request: _Request) -> Splits:
    from snow_deploy.data.csv_table import read_csv

    return read_csv(request.folder, request.spec.options, seed=request.seed)


def _demo(request: _Request) -> Splits:
    from snow_deploy.data.demo import read_demo

    return read_demo(request.spec.location, request.spec.options)


_READERS: dict[str, Callable[[_Request], Splits]] = {
    "imagefolder": _imagefolder,
    "food101": _food101,
    "dtd": _dtd,
    "stanfordcars": _stanford_cars,
    "cub200": _cub200,
    "stanford40": _stanford40,
    "csv": _csv,
    "demo": _demo,
}
