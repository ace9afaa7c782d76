from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.engine.files import (
    check_writable,
    read_engine,
    read_plan,
    read_record,
    write_engine,
)
from snow_runtime.engine.paths import record_path
from snow_runtime.errors import EngineError
from tests.runtime.engine.records import PLAN, engine_in, record_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)

    record = read_record(engine)

    assert record == record_of()
    assert read_plan(engine, record) == PLAN
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snow.engine", "snow.engine.json"]
    assert engine.read_bytes() == PLAN  # a plain plan, nothing around it


@given(position=st.integers(0, len(PLAN) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit(tmp_path: Path, position: int, bit: int) -> None:
    engine = engine_in(tmp_path)
    damaged = bytearray(PLAN)
    damaged[position] ^= 1 << bit
    engine.write_bytes(damaged)

    with pytest.raises(EngineError, match=r"damaged, or was swapped.*not loaded.*build-engine"):
        read_plan(engine, read_record(engine))


@given(length=st.integers(0, len(PLAN) - 1))
def test_a_truncated_plan(tmp_path: Path, length: int) -> None:
    engine = engine_in(tmp_path)
    engine.write_bytes(PLAN[:length])

    with pytest.raises(EngineError, match=rf"has {length} bytes of {len(PLAN)}: it is truncated"):
        read_plan(engine, read_record(engine))


def test_the_record_of_another_engine(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    record_path(engine).write_bytes(record_path(engine_in(other, PLAN[::-1])).read_bytes())

    with pytest.raises(EngineError, match="not the plan that its record describes"):
        read_plan(engine, read_record(engine))


def test_a_record_that_is_missing_or_damaged(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    path = record_path(engine)
    path.write_text(path.read_text(encoding="utf-8")[:-30], encoding="utf-8")
    with pytest.raises(EngineError, match=r"snow\.engine\.json is damaged, or of another version"):
        read_record(engine)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(EngineError, match="cannot be read"):
        read_record(engine)
    path.unlink()
    with pytest.raises(EngineError, match="is missing: without it nobody can say what"):
        read_record(engine)


def test_a_plan_that_is_missing(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    engine.unlink()

    with pytest.raises(EngineError, match=r"does not exist.*snow-deploy build-engine"):
        read_plan(engine, read_record(engine))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(EngineError, match=r"cannot be written: .*Permission denied"):
            check_writable(tmp_path / "snow.engine")
    finally:
        tmp_path.chmod(0o700)


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(EngineError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(EngineError, match="cannot be written"):
        check_writable(tmp_path / "file" / "snow.engine")
    check_writable(tmp_path / "new" / "snow.engine")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_full_disk_leaves_the_old_pair(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: writing fails in the same way."""
    engine = engine_in(tmp_path)
    before = engine.read_bytes(), record_path(engine).read_bytes()
    script = (
        "import resource, signal\n"
        "from pathlib import Path\n"
        "from snow_runtime.engine.files import write_engine\n"
        "from tests.runtime.engine.records import record_of\n"
        "content = bytes(200_000)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"write_engine(Path({str(engine)!r}), content, record_of(content))\n"
    )

    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert completed.returncode == 1
    assert "EngineError" in completed.stderr
    assert "cannot be written: [Errno 27]" in completed.stderr
    assert (engine.read_bytes(), record_path(engine).read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    return mount_disk("256k")


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    engine = engine_in(small_disk)
    content = bytes(300_000)

    with pytest.raises(EngineError, match=r"cannot be written: \[Errno 28\]"):
        write_engine(engine, content, record_of(content))

    assert read_plan(engine, read_record(engine)) == PLAN
    assert len(list(small_disk.iterdir())) == 2


def test_a_file_system_that_is_read_only(small_disk: Path) -> None:
    engine = engine_in(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(EngineError, match="Read-only file system"):
        check_writable(engine)
    with pytest.raises(EngineError, match="Read-only file system"):
        write_engine(engine, PLAN, record_of())
    assert read_plan(engine, read_record(engine)) == PLAN


def test_a_reader_never_sees_half_of_a_pair(tmp_path: Path) -> None:
    engine, done = tmp_path / "snow.engine", threading.Event()
    contents = [bytes([number]) * 20_000 for number in range(2)]
    write_engine(engine, contents[0], record_of(contents[0]))

    def write() -> None:
        while not done.is_set():
            for content in contents:
                write_engine(engine, content, record_of(content))
                time.sleep(0.002)  # readers who wait for the lock look for it now and then

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(200):
            record, content = read_engine(engine)
            assert record == record_of(content)
    finally:
        done.set()
        writer.join()


def test_a_pair_in_a_folder_that_cannot_be_locked_is_told_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "snow.engine"
    write_engine(engine, PLAN, record_of(PLAN))
    engine.write_bytes(b"another")

    def unlockable(*_: object) -> None:
        msg = "no locks here"
        raise OSError(msg)

    monkeypatch.setattr("fcntl.flock", unlockable)

    with pytest.raises(EngineError, match=r"truncated|swapped"):
        read_engine(engine)


def test_two_writers_never_mix_their_pairs(tmp_path: Path) -> None:
    engine = tmp_path / "snow.engine"
    contents = [bytes([number]) * 50_000 for number in range(4)]

    def write(content: bytes) -> None:
        for _ in range(10):
            write_engine(engine, content, record_of(content))

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert read_plan(engine, read_record(engine)) in contents
