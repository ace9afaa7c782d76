"""A folder that is there with all its files, or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from snow_runtime.errors import CollectionError
from snow_runtime.file_lock import hold_lock, try_lock
from snow_runtime.files import sync_folder, writing

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Within it, files are written to a hidden folder, which takes its name at the end.

    Args:
        target: The folder to be; it must not be there, or be empty.

    Raises:
        CollectionError: It holds something, or cannot be written.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - links stay; `.` has no name
    with writing(target, CollectionError, "Name a folder that this user may write to."):
        if target == Path.cwd():  # it would be replaced, and the shell be nowhere
            msg = f"{target} is where you are, expected a new folder. Name one in it."
            raise CollectionError(msg)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            msg = f"{target} is there already, expected a new folder. Name another one."
            raise CollectionError(msg)
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        hidden = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        hidden.mkdir()
        with hold_lock(hidden):
            try:
                yield hidden
                if hasattr(os, "sync"):
                    os.sync()  # a power cut must not leave the name and empty files
                hidden.replace(target)
                sync_folder(target.parent)
            except BaseException:
                shutil.rmtree(hidden, ignore_errors=True)
                raise


def _sweep(target: Path) -> None:
    """Delete what was left of the same folder by a process that was killed."""
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.tmp")
    for path in target.parent.iterdir():
        if name.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            held = os.open(path, os.O_RDONLY)
            try:
                if try_lock(held):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(held)
