"""Two files that grow together: pictures one after the other, and a line about each."""

from __future__ import annotations

import itertools
import json
import logging
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.app.outputs.other_writers import other_writer
from snow_runtime.file_lock import try_lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import FileIO
    from pathlib import Path

_LOGGER = logging.getLogger(__name__)
_TAIL_BYTES: Final = 1 << 20  # of the lines: so much is read to find the last whole one


class MjpegWithJsonl:
    """`NAME.mjpeg` and `NAME.jsonl`, of which each always has whole entries only.

    A line says with `offset` and `bytes` where its picture lies. What a power cut left half
    written is cut off when they are opened again.

    Args:
        path: The pictures' file; existing ones are gone on with.
        camera: Name of the camera that they are of; None for any.

    Raises:
        OSError: They cannot be opened, are no plain files, somebody else writes to them, or they
            hold something else than what this camera recorded. Then nothing of them is changed.
    """

    def __init__(self, path: Path, camera: str | None = None) -> None:
        index = path.with_suffix(".jsonl")
        self._names = (path, index)
        orphaned = not path.exists()
        if orphaned:
            _put_aside(index)
        self._pictures = _open(path)
        try:
            self._lines = _open(index)
            try:
                _refuse_other_writers(path, self._pictures, index, self._lines)
                _refuse_other_contents(index, self._lines, camera=camera)
                self._mend()
            except OSError:
                self._lines.close()
                raise
        except OSError:
            self._pictures.close()
            if orphaned:
                path.unlink(missing_ok=True)
            raise

    def append(self, picture: bytes, facts: Mapping[str, Any]) -> None:
        """Write both, or neither.

        Raises:
            OSError: They cannot be written; nothing of them stays.
        """
        ends = [(stream, stream.seek(0, os.SEEK_END)) for stream in (self._pictures, self._lines)]
        line = json.dumps({**facts, "offset": ends[0][1], "bytes": len(picture)}) + "\n"
        try:
            _write(self._pictures, picture)
            _write(self._lines, line.encode())
        except OSError:
            for stream, end in ends:
                with suppress(OSError):
                    stream.truncate(end)
            raise

    def are_gone(self) -> bool:
        """Tell whether one of the files lies no more where it was: what is written is lost then."""
        streams = (self._pictures, self._lines)
        try:
            return not all(
                os.path.samestat(name.stat(), os.fstat(stream.fileno()))
                for name, stream in zip(self._names, streams, strict=True)
            )
        except FileNotFoundError:
            return True

    def close(self) -> None:
        """Put everything on the disk."""
        for stream in (self._pictures, self._lines):
            with suppress(OSError, ValueError):  # a second time it is closed
                os.fsync(stream.fileno())
            with suppress(OSError):
                stream.close()

    def _mend(self) -> None:
        """Cut off what comes after the last line whose picture is there in full."""
        size, there = self._lines.seek(0, os.SEEK_END), self._pictures.seek(0, os.SEEK_END)
        begin = max(0, size - _TAIL_BYTES)
        self._lines.seek(begin)
        tail = self._lines.read(_TAIL_BYTES) or b""
        whole, ends = tail[: tail.rfind(b"\n") + 1], there
        while whole:
            last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
            found = _picture_end(last)
            if found is None or found <= there:
                ends = there if found is None else found
                break
            whole = whole[: -len(last)]
        if begin + len(whole) < size:
            self._lines.truncate(begin + len(whole))
        if ends < there:
            self._pictures.truncate(ends)


def _picture_end(line: bytes) -> int | None:
    """Give where the picture of a line ends; None where it does not tell."""
    try:
        facts = json.loads(line)
        return int(facts["offset"]) + int(facts["bytes"])
    except (ValueError, KeyError, TypeError):
        return None


def _refuse_other_writers(path: Path, pictures: FileIO, index: Path, lines: FileIO) -> None:
    """Refuse files that a running process writes to, this one's standard output among them.

    Raises:
        OSError: They are written to.
    """
    ours = [(path, pictures), (index, lines)]
    numbers = [stream.fileno() for _, stream in ours]
    if os.path.sameopenfile(*numbers):
        msg = f"{index} is the same file"
        raise OSError(msg)
    for name, stream in ours:
        if not try_lock(stream.fileno()):
            msg = f"another process, or another camera, records to {name}"
            raise OSError(msg)
        if (writer := other_writer(stream.fileno(), numbers)) is not None:
            seen = f"goes to {name}" if writer.startswith("standard") else f"writes to {name}"
            msg = f"{writer} {seen} too, and both would write to it"
            raise OSError(msg)


def _put_aside(index: Path) -> None:
    """Keep a recording's index whose pictures are gone under another name, and say so."""
    try:
        if not index.is_file():  # a pipe would be waited for without end
            return
        with index.open("rb") as stream:
            free, first = try_lock(stream.fileno()), stream.readline()
    except OSError:
        return
    if not free or _picture_end(first) is None:
        return
    numbers = (f".{number}" if number else "" for number in itertools.count())
    names = (index.with_name(f"{index.stem}.no-pictures{each}.jsonl") for each in numbers)
    aside = next(name for name in names if not name.exists())
    index.rename(aside)
    _LOGGER.warning("%s tells of pictures that are gone; it is %s now", index, aside.name)


def _refuse_other_contents(index: Path, lines: FileIO, *, camera: str | None) -> None:
    """Refuse an index that no recording of this camera made: going on would cut it off.

    Raises:
        OSError: It is another's.
    """
    lines.seek(0)
    first = lines.readline()
    if not first.endswith(b"\n"):
        return  # nothing, or what a power cut left of the first line
    if _picture_end(first) is None:
        msg = f"{index} holds other lines than a recording's"
        raise OSError(msg)
    whose = json.loads(first).get("camera")
    if camera is not None and whose not in (None, camera):
        msg = f"it holds what the camera {whose} saw, and this one is {camera}"
        raise OSError(msg)


def _open(path: Path) -> FileIO:
    """Open a file to append to, unbuffered: what a full disk refused must not be tried again."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        msg = "it is no plain file"
        raise OSError(msg)
    return path.open("ab+", buffering=0)


def _write(stream: FileIO, content: bytes) -> None:
    """Write all of it; a nearly full disk takes a part only at first."""
    left = memoryview(content)
    while left:
        left = left[stream.write(left) :]
