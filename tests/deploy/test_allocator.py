from __future__ import annotations

import os
import subprocess
import sys

import pytest

from snow_deploy import allocator

_GLIBC = pytest.mark.skipif(allocator._glibc("mallopt") is None, reason="another C library's heap")
_SCRIPT = """
from snow_deploy.allocator import give_back_freed_memory, keep_freed_memory
from snow_runtime.bench.process_memory import read_process_memory
before = read_process_memory().now_bytes
was_set = keep_freed_memory()
large = bytearray(b"1" * 200_000_000)
del large
kept = read_process_memory().now_bytes - before > 150_000_000
give_back_freed_memory()
given_back = read_process_memory().now_bytes - before < 50_000_000
print(was_set, kept, given_back)
"""


def run(**environment: str) -> list[bool]:
    """Return, of a process of its own: is it set, was memory kept, and given back when asked."""
    foreign = {k: v for k, v in os.environ.items() if "MALLOC" not in k and "GLIBC" not in k}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=foreign | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [word == "True" for word in done.stdout.split()]


@_GLIBC
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    assert run() == [True, True, True]


@_GLIBC
@pytest.mark.parametrize(
    "setting",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"},
    ],
)
def test_the_owners_setting_stays(setting: dict[str, str]) -> None:
    assert run(**setting) == [False, False, True]


def test_without_glibc_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_glibc", lambda _name: None)

    allocator.give_back_freed_memory()

    assert not allocator.keep_freed_memory()
