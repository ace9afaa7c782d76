from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time

import pytest

from snow_runtime.app.stderr_guard import GuardedDescriptor, LineLimit

WARNING = b"Corrupt JPEG data: %d extraneous bytes before marker 0xd9\n"


class Hand:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def admitted(limit: LineLimit, *lines: bytes) -> list[bytes]:
    return [passed for line in lines for passed in limit.admit(line)]


def test_lines_that_differ_in_numbers_are_of_one_kind() -> None:
    clock = Hand()
    limit = LineLimit(clock)

    first = admitted(limit, *[WARNING % number for number in range(1, 1000)])
    other = admitted(limit, b"something else\n")
    clock.seconds += 61
    later = admitted(limit, *[WARNING % number for number in range(7, 100)])

    assert first == [WARNING % number for number in (1, 2, 3)]
    assert other == [b"something else\n"]
    assert later == [
        b"(996 more lines of libraries like those above)\n",
        *[WARNING % number for number in (7, 8, 9)],
    ]
    assert list(limit.rest()) == [b"(90 more lines of libraries like those above)\n"]
    assert list(limit.rest()) == []


def test_lines_of_many_kinds_are_a_flood_too() -> None:
    clock = Hand()
    limit = LineLimit(clock)
    words = [bytes([97 + n // 676, 97 + n // 26 % 26, 97 + n % 26]) + b"\n" for n in range(5000)]

    passed = admitted(limit, *words)
    kinds = len(limit._kinds)
    clock.seconds += 10

    assert passed[:300] == words[:300]
    assert sum(line in passed for line in words) == 300
    assert kinds <= 256
    assert len(admitted(limit, *[b"x" + word for word in words])) >= 20


def written(descriptor: int, text: bytes) -> int:
    """Write as C does, without Python's locks and without its errors."""
    return int(ctypes.CDLL(None).write(descriptor, text, len(text)))


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def everything(reader: int) -> bytes:
    with os.fdopen(reader, "rb") as stream:
        return stream.read()


def test_what_a_library_writes_passes_in_order(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    inode = os.fstat(writer).st_ino
    with GuardedDescriptor(writer) as outer:
        assert os.fstat(outer).st_ino == inode != os.fstat(writer).st_ino
        written(writer, b"one\ntwo\nhalf a ")
        written(writer, b"line\n")
        written(writer, b"no end")
    assert os.fstat(writer).st_ino == inode
    os.close(writer)

    assert everything(reader) == b"one\ntwo\nhalf a line\nno end\n"


def test_a_line_without_an_end_is_not_kept_for_ever(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    with GuardedDescriptor(writer):
        written(writer, b"Really? [y/n] ")
        assert os.read(reader, 99) == b"Really? [y/n] \n"
    os.close(writer)
    os.close(reader)


def test_nobody_reads(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, bytes(4096)):
            pass
    os.set_blocking(writer, True)

    def write() -> None:
        for number in range(3000):
            written(writer, WARNING % number + b"x" * 100 + bytes([97 + number % 26]) + b"\n")

    began = time.monotonic()
    with GuardedDescriptor(writer):
        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    assert time.monotonic() - began < 20
    os.close(writer)
    os.close(reader)


def test_a_flood_is_limited(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    with GuardedDescriptor(writer):
        for number in range(200):
            written(writer, WARNING % number)
    os.close(writer)

    said = everything(reader).splitlines()
    assert len(said) == 4
    assert said[3].startswith(b"(197 more lines")
