"""A folder that is there with all its files, or not at all."""

from __future__ import annotations

import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snow_runtime.errors import CollectionError
from snow_runtime.files import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Within it, files are written to a hidden folder, which takes its name at the end.

    Args:
        target: The folder to be; it must not be there, or be empty.

    Raises:
        CollectionError: It holds something, or cannot be written.
    """
    with writing(target, CollectionError, "Name a folder that this user may write to."):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            msg = f"{target} is there already, expected a new folder. Name another one."
            raise CollectionError(msg)
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        hidden.mkdir()
        try:
            yield hidden
            hidden.replace(target)
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
