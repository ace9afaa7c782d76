from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from snow_runtime.engine.cache import EngineCache
from snow_runtime.errors import EngineError
from snow_runtime.file_lock import hold_lock, try_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from snow_runtime.file_lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["folder", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "folder":
        return tmp_path
    return tmp_path / "name.lock"


def test_another_process_keeps_it_until_it_dies(place: Path) -> None:
    taken: list[bool] = []

    with subprocess.Popen([sys.executable, "-c", HOLD, place], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        threading.Timer(0.1, other.kill).start()
        with hold_lock(place, lambda: taken.append(other.poll() is None)):
            assert other.poll() is not None or other.wait(5) != 0

    assert taken == [True]
    with hold_lock(place, lambda: taken.append(False)):  # free again: nobody is asked
        pass
    assert taken == [True]


def test_who_will_not_wait_need_not(place: Path) -> None:
    class BusyError(Exception):
        pass

    def refuse() -> None:
        raise BusyError

    with hold_lock(place), pytest.raises(BusyError), hold_lock(place, refuse):
        pass
    with hold_lock(place, refuse):
        pass


def test_an_open_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "seen.mjpeg"
    path.write_bytes(b"pictures")

    with path.open("rb") as one, path.open("ab") as other:
        assert try_lock(one.fileno())
        assert try_lock(one.fileno())
        assert not try_lock(other.fileno())
        one.close()
        assert try_lock(other.fileno())
    assert path.read_bytes() == b"pictures"


def test_a_folder_keeps_no_trace(tmp_path: Path) -> None:
    with hold_lock(tmp_path):
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to(mount_disk: Callable[[str], Path]) -> None:
    disk = mount_disk("64k")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    with hold_lock(disk), pytest.raises(OSError, match="Read-only"):
        (disk / "x").touch()


def test_one_at_a_time(place: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with hold_lock(place):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(most) == {1}
    assert len(most) == 20


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlockable(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unlockable)

    with pytest.raises(OSError, match="No locks available"), hold_lock(tmp_path):
        pass
    cache = EngineCache(tmp_path / "engines")
    with pytest.raises(EngineError, match=r"No locks.*Give --no-cache"), cache.building("k"):
        pass
