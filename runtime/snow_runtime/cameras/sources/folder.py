"""A folder of pictures, one after the other."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_runtime.cameras.sources.source import BadPictureError, CameraPicture
from snow_runtime.cameras.uri import parse_numeric_query
from snow_runtime.errors import CameraError, InputError
from snow_runtime.pictures.picture_files import LeftOut, Reason, examples, why_no_folder
from snow_runtime.pictures.preprocessing import load_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.cameras.uri import Address

_LOGGER = logging.getLogger(__name__)
_DEEPER: Final = Reason("folder, which is not looked into", "folders, which are not looked into")
_NO_FILE: Final = Reason("entry that is no file", "entries that are no files")


class FolderSource:
    """The pictures that lie in a folder itself, upright, in the order of their names.

    Which files are pictures, :mod:`snow_runtime.pictures.picture_files` says; the others are
    counted in the log.

    Numbers in names count as numbers: ``frame10.jpg`` comes after ``frame9.jpg``.

    Args:
        address: The folder, with ``?fps=N`` for N pictures a second; 0 is as fast as they are
            asked for.

    Raises:
        CameraError: There is no such folder, or a value of the query is out of its range.
    """

    def __init__(self, address: Address) -> None:
        self._path = Path(address.target)
        self._fps = parse_numeric_query(address, {"fps": (0.0, 0, 1000)})["fps"]
        self._paths: Iterator[Path] = iter(())
        if not self._path.is_dir():
            msg = (
                f"Cannot open the camera {address.text!r}: there is no such folder, expected one "
                "with pictures in it. Check the path."
            )
            raise CameraError(msg)

    @property
    def interval_s(self) -> float:
        """Seconds from one picture to the next; 0: as fast as they are asked for."""
        return 1 / self._fps if self._fps else 0.0

    def open(self) -> None:
        """List the pictures.

        Raises:
            CameraError: The folder cannot be read, or holds no pictures.
        """
        left_out = LeftOut()
        try:
            paths = [each for each in sorted(self._path.iterdir()) if _is_picture(each, left_out)]
        except OSError as error:
            msg = (
                f"Cannot read the folder {str(self._path)!r}: {error.strerror}, expected one with "
                "pictures in it. Check its permissions."
            )
            raise CameraError(msg) from error
        if not paths:
            there = f" What is there: {left_out.summary()}." if left_out else ""
            msg = (
                f"The folder {str(self._path)!r} holds no pictures, expected files such as "
                f"0001.jpg ({examples()}).{there} Check the path."
            )
            raise CameraError(msg)
        if left_out:
            _LOGGER.warning("Left out of the folder %s: %s.", self._path, left_out.summary())
        self._paths = iter(sorted(paths, key=_order))

    def read(self) -> CameraPicture | None:
        """Read the next picture; None after the last.

        Raises:
            BadPictureError: The file cannot be read as a picture.
        """
        path = next(self._paths, None)
        if path is None:
            return None
        try:
            rgb = np.asarray(load_image(path))  # [H, W, 3]
        except InputError as error:
            raise BadPictureError(str(error)) from error
        return CameraPicture(np.ascontiguousarray(rgb[..., ::-1]))

    def interrupt(self) -> None:
        """Do nothing: a picture is soon read."""

    def close(self) -> None:
        """Forget the pictures that are left."""
        self._paths = iter(())


def _is_picture(path: Path, left_out: LeftOut) -> bool:
    if path.is_file():
        return left_out.takes(path.name)
    kind = _DEEPER if path.is_dir() else _NO_FILE
    left_out.note(why_no_folder(path.name) or kind, path.name)
    return False


def _order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort by the words and the numbers of a name, then by the name itself."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", path.name)
    return [(int(digits or -1), word) for digits, word in parts], path.name
