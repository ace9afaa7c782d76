from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.cameras.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


def camera_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("camera ")]


def descriptors() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # the listing's own
        if target.startswith(("socket:", "/")) and not target.startswith("/dev/"):
            found.add(f"{entry.name} {target}")
    return found


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Every test must leave no thread of a camera and no open file or socket."""
    before = descriptors()
    yield
    try:
        eventually(lambda: not camera_threads())
        eventually(lambda: not descriptors() - before)
    except AssertionError:
        pytest.fail(f"left behind: {camera_threads()}, {descriptors() - before}")
