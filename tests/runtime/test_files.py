from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from snow_runtime.files import atomic_write, sha256_file

if TYPE_CHECKING:
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_bytes_and_text_arrive_whole_and_alone(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.bin") as stream:
        stream.write(b"\x00\xff")
    with atomic_write(tmp_path / "b.txt", "w") as text:
        text.write("crème brûlée")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b.txt").read_text(encoding="utf-8") == "crème brûlée"
    assert names(tmp_path) == ["a.bin", "b.txt"]


def test_readers_see_the_old_content_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with atomic_write(target) as stream:
        stream.write(b"new")
        stream.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_content_and_leaves_nothing_behind(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def fail_half_way() -> None:
        with atomic_write(target) as stream:
            stream.write(b"half of the n")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "no" / "a"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
@pytest.mark.parametrize("through_link", [False, True])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, through_link: bool) -> None:
    """Root can rename a file over a device; a pipe stands for one."""
    place = target = tmp_path / "pipe"
    os.mkfifo(target)
    if through_link:
        place = tmp_path / "link"
        place.symlink_to(target)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="No plain file"), atomic_write(place) as file:
        file.write(b"never")
    assert stat.S_ISFIFO(target.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_is_told_before_anything_is_written(tmp_path: Path) -> None:
    entered = False
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path):
        entered = True
    assert not entered


def test_the_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with atomic_write(tmp_path / "atomic") as stream:
        stream.write(b"")
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_a_symbolic_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_write(tmp_path / "link") as stream:
        stream.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1])
def test_sha256_is_hashlibs(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()
