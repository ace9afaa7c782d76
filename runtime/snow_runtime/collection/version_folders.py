"""The folders of readouts in a collection, `versions/QUESTION`, as far as deleting them goes.

A fit at work has a folder of its own in one of these, with features in it. It holds a lock there;
a folder whose lock is free is nobody's any more.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from snow_runtime.file_lock import try_lock

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

FIT_PREFIX: Final = ".fit-"
"""What a fit's folder begins with."""
HELD: Final = ".held"
"""The file in it that is locked as long as somebody waits for the fit."""
_GONE: Final = ".gone-"


def remove_whole(folder: Path) -> None:
    """Delete a folder in one step, also while others write to it: they find it no more.

    Raises:
        OSError: It cannot be deleted.
    """
    gone = folder.with_name(f"{_GONE}{secrets.token_hex(8)}")
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    _remove(gone)


def sweep_fits(folder: Path) -> None:
    """Delete what fits of a question left that nobody waits for any more."""
    for path in folder.glob(f"{FIT_PREFIX}*"):
        with suppress(OSError):
            held = os.open(path / HELD, os.O_CREAT | os.O_RDWR)
            try:
                if try_lock(held):
                    _remove(path)
            finally:
                os.close(held)


def sweep_versions(versions: Path, questions: Collection[str]) -> None:
    """Delete what was left half-way of deleting and of fitting, and of questions that are no more.

    Args:
        versions: Folder of all versions.
        questions: Names of the questions that there are.
    """
    for path in (*versions.parent.glob(f"{_GONE}*"), *versions.glob(f"{_GONE}*")):
        with suppress(OSError):
            _remove(path)
    for path in versions.iterdir() if versions.is_dir() else ():
        if path.is_dir():
            sweep_fits(path)
            if path.name not in questions and not _holds_something(path):
                with suppress(OSError):
                    remove_whole(path)


def _holds_something(folder: Path) -> bool:
    """Tell whether there is a version, or a fit at work."""
    return any(
        path.name.startswith(FIT_PREFIX) or path.suffix == ".json" for path in folder.iterdir()
    )


def _remove(path: Path) -> None:
    shutil.rmtree(path)
