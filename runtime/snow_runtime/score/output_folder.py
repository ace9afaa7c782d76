"""Files of an output, on a disk or in an object store, that are whole or not there.

A file is first written to the local disk. It then takes its name by a rename; an object store gets
it under another name and renames it there.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from snow_runtime.files import atomic_write
from snow_runtime.score.errors import OutputError
from snow_runtime.score.import_score import import_score
from snow_runtime.score.locations import parse_location

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB: Final = "_job"
"""Folder of a job's record, in that of its parts."""
RECORD: Final = f"{JOB}/job.json"
"""The record."""
PART: Final = re.compile(r"part-(\d{6,})\.parquet")
"""Names of parts."""
_WAITING: Final = f"{JOB}/incoming"
_LEFT: Final = re.compile(r"\.[0-9a-f]{16}\.tmp")


class OutputFolder:
    """The folder of a job's parts and of its record.

    Args:
        uri: A path or URI.

    Raises:
        ScoreError: The URI cannot be used.
    """

    def __init__(self, uri: str) -> None:
        self._at = parse_location(uri)
        self.uri = uri

    @property
    def local(self) -> Path | None:
        """The folder on the local disk; None for another file system."""
        return Path(self._at.path) if self._at.local else None

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            OutputError: It cannot be made.
        """
        with self._refusing(JOB):
            if self.local is not None:
                (self.local / JOB).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file for writing; it is there when the block has ended without an error.

        Raises:
            OutputError: The output refuses it.
        """
        if self.local is not None:
            with self._refusing(name), atomic_write(self.local / name) as stream:
                yield stream
            return
        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            with self._refusing(name):
                self._upload(spool, name)

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            OutputError: The output refuses it.
        """
        with self.writing(name) as stream:
            stream.write(content)

    def read(self, name: str) -> bytes | None:
        """Read a file; None where there is none.

        Raises:
            OutputError: It cannot be read.
        """
        try:
            with self.open(name) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            msg = f"{self._shown(name)} cannot be read: {error}. {_ADVICE}"
            raise OutputError(msg) from error

    def forget(self, name: str) -> None:
        """Remove a file of a folder on the local disk, if it is there.

        Raises:
            OutputError: It cannot be removed.
        """
        if self.local is not None:
            with self._refusing(name):
                (self.local / name).unlink(missing_ok=True)

    def open(self, name: str) -> Any:
        """Open a file to be read at any place.

        Raises:
            OSError: It cannot be opened.
        """
        return self._at.file_system.open_input_file(f"{self._at.path}/{name}")

    def parts(self) -> set[int]:
        """Give the numbers of the parts that are there.

        Raises:
            OutputError: The folder cannot be listed.
        """
        selector = import_score("pyarrow.fs").FileSelector
        try:
            listed = self._at.file_system.get_file_info(
                selector(self._at.path, allow_not_found=True)
            )
        except OSError as error:
            msg = f"{self.uri} cannot be listed: {error}. Name a folder that this user may read."
            raise OutputError(msg) from error
        return {int(found[1]) for info in listed if (found := PART.fullmatch(info.base_name))}

    def clear_left(self) -> None:
        """Remove what a job that was killed left half-written on the local disk."""
        if self.local is not None:
            for folder in (self.local, self.local / JOB):
                for path in folder.glob(".*.tmp"):
                    if _LEFT.fullmatch(path.name):
                        path.unlink(missing_ok=True)

    def _upload(self, spool: IO[bytes], name: str) -> None:
        waiting = f"{self._at.path}/{_WAITING}/{secrets.token_hex(8)}"
        system = self._at.file_system
        with system.open_output_stream(waiting) as stream:
            shutil.copyfileobj(spool, stream, 1 << 20)
        system.move(waiting, f"{self._at.path}/{name}")

    def _shown(self, name: str) -> str:
        return f"{self.uri.rstrip('/')}/{name}"

    @contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"{self._shown(name)} cannot be written: {error}. {_ADVICE}"
            raise OutputError(msg) from error


_ADVICE: Final = (
    "See whether it exists, has room and you may write there; then run the same command again: it "
    "goes on where it was."
)


def part_name(number: int) -> str:
    """Give the name of a shard's part."""
    return f"part-{number:06d}.parquet"
