"""Local disk and object stores behind one interface, by pyarrow's and fsspec's file systems.

Keys come from the environment or from the files that those libraries look into, never from a URI:
it would show in lists of processes, in logs and in the job's record.
"""

from __future__ import annotations

import functools
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from snow_runtime.score.errors import ScoreError
from snow_runtime.score.import_score import import_score

_SCHEME: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_OPTIONS: Final = re.compile(r"\?(?=\w+=)[^?]*$")
_OF_ARROW: Final = frozenset({"s3", "gs", "gcs", "hdfs", "viewfs"})
_SECRET: Final = re.compile(r"[?&][^=]*(secret|password|token)[^=]*=", re.IGNORECASE)


@dataclass(frozen=True)
class Location:
    """A path on the local disk, or on a file system that a URI names.

    Attributes:
        uri: As it was given.
        prefix: What stands before a path in a URI, such as `s3://`; empty for the local disk.
        options: What follows the path, such as `?region=eu-west-1`.
        path: Path on its file system; of an object store it begins with the bucket.
    """

    uri: str
    prefix: str
    options: str
    path: str

    @property
    def local(self) -> bool:
        """Whether it is on the local disk."""
        return not self.prefix

    @property
    def file_system(self) -> Any:
        """The file system, of pyarrow's kind; one for all locations of its prefix and options."""
        return _file_system(self.prefix, self.options, self.path.partition("/")[0])

    def named(self, path: str) -> str:
        """Give the name by which a path of this file system is told to people."""
        return f"{self.prefix}{path}"


def parse_location(uri: str) -> Location:
    """Read a path or URI.

    Raises:
        ScoreError: It holds a password or key, or names no path.
    """
    scheme = _SCHEME.match(uri)
    name = "file" if scheme is None else scheme[1].lower()
    if scheme is None or name == "file":
        path = uri[len(scheme[0]) :] if scheme else uri
        if not path or "\0" in path:
            msg = f"{uri!r} names no path, expected a file, a folder or a URI. Give one."
            raise ScoreError(msg)
        return Location(uri, "", "", path)
    if urlsplit(uri).password is not None or _SECRET.search(uri):
        shown = f"{name}://…"
        msg = (
            f"The address {shown} has a password or key in it, which lists of processes and the "
            "job's record would show. Put it into the environment (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS)."
        )
        raise ScoreError(msg)
    options = _OPTIONS.search(uri)
    end = options.start() if options else len(uri)
    path = uri[len(scheme[0]) : end].rstrip("/")
    if not path:
        msg = f"{uri} names no bucket or path, expected one such as {name}://bucket/folder."
        raise ScoreError(msg)
    return Location(uri, f"{name}://", options[0] if options else "", path)


@functools.lru_cache(maxsize=64)
def _file_system(prefix: str, options: str, bucket: str) -> Any:
    """Open a file system.

    Raises:
        ScoreError: There is none of that kind, or an option is wrong.
        MissingDependencyError: A library is missing.
    """
    fs = import_score("pyarrow.fs")
    if not prefix:
        return fs.LocalFileSystem()
    scheme = prefix.removesuffix("://")
    uri = f"{prefix}{bucket}{options}"
    if scheme in _OF_ARROW:
        try:
            return fs.FileSystem.from_uri(uri)[0]
        except (OSError, ValueError) as error:
            msg = f"Cannot open {uri}: {error}. Check the address and its options."
            raise ScoreError(msg) from error
    return fs.PyFileSystem(fs.FSSpecHandler(_of_fsspec(scheme, uri)))


def _of_fsspec(scheme: str, uri: str) -> Any:
    """Open a file system of fsspec's by its name alone, as a URI gives it.

    Raises:
        ScoreError: There is none of that kind, or a name is not enough.
    """
    fsspec = import_score("fsspec")
    try:
        kind = fsspec.get_filesystem_class(scheme)
        opened = None if _wants_more(kind, scheme) else kind()
    except ValueError as error:
        msg = (
            f"{uri} is on no file system that is known here: {error}. Expected a path, or a URI "
            "of s3, gs or another of fsspec's."
        )
        raise ScoreError(msg) from error
    except ImportError as error:
        msg = f"{uri} needs a library that is not installed: {error}."
        raise ScoreError(msg) from error
    except Exception as error:  # such as one that wants another file system says so by any kind
        msg = f"Cannot open {uri}: {error}. Check the address."
        raise ScoreError(msg) from error
    if opened is None:
        msg = (
            f"{uri} cannot be read or written by this address alone, expected a path, or a URI of "
            "s3, gs or another store with buckets. Copy it there, or mount it."
        )
        raise ScoreError(msg)
    return opened


def _wants_more(kind: Any, scheme: str) -> bool:
    """Tell whether a file system wants more than its name, as a host, or whole URLs as paths."""
    given = inspect.signature(kind.__init__).parameters.values()
    needed = [it for it in given if it.default is it.empty and it.kind is it.POSITIONAL_OR_KEYWORD]
    path = str(kind._strip_protocol(f"{scheme}://bucket/file"))  # noqa: SLF001 - the name for it
    return len(needed) > 1 or path.lstrip("/") != "bucket/file"


def read_whole(location: Location, path: str) -> bytes:
    """Read a file of a location's file system.

    Raises:
        OSError: It cannot be read.
    """
    if location.local:
        return Path(path).read_bytes()
    with location.file_system.open_input_stream(path) as stream:
        return bytes(stream.read())


def open_stream(location: Location, path: str) -> Any:
    """Open a file to be read from its beginning to its end, as a binary stream.

    Raises:
        OSError: It cannot be opened.
    """
    if location.local:
        return Path(path).open("rb")
    return location.file_system.open_input_stream(path, buffer_size=1 << 20)


def open_random(location: Location, path: str) -> Any:
    """Open a file to be read at any place, for pyarrow.

    Raises:
        OSError: It cannot be opened.
    """
    return location.file_system.open_input_file(path)
