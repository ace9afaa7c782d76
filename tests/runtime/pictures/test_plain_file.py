from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from snow_runtime.errors import InputError
from snow_runtime.pictures.plain_file import load_plain_file

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")

    with pytest.raises(InputError, match="is no plain file"):
        load_plain_file(tmp_path / "pipe.jpg")


def test_what_cannot_even_be_looked_at_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is too long; a file of another machine's disk that is away."""
    with pytest.raises(InputError, match="File name too long"):
        load_plain_file(tmp_path / ("x" * 300 + ".jpg"))

    def stale(_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "stat", stale)
    with pytest.raises(InputError, match="Stale file handle"):
        load_plain_file(tmp_path / "a.jpg")
