"""A folder of pictures, one after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_runtime.cameras.source import BadPictureError, Picture
from snow_runtime.cameras.uri import numbers
from snow_runtime.errors import CameraError, InputError
from snow_runtime.preprocessing import load_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.cameras.uri import Address

_SUFFIXES: Final = frozenset(
    (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


class FolderSource:
    """The pictures that lie in a folder itself, upright, in the order of their names.

    Numbers in names count as numbers: ``frame10.jpg`` comes after ``frame9.jpg``.

    Args:
        address: the folder, with ``?fps=N`` for N pictures a second; 0 is as fast as they are
            asked for.

    Raises:
        CameraError: there is no such folder, or a value of the query is out of its range.
    """

    def __init__(self, address: Address) -> None:
        self._path = Path(address.target)
        self._fps = numbers(address, {"fps": (0.0, 0, 1000)})["fps"]
        self._paths: Iterator[Path] = iter(())
        if not self._path.is_dir():
            raise CameraError(
                f"Cannot open the camera {address.text!r}: there is no such folder, expected one "
                "with pictures in it. Check the path."
            )

    @property
    def interval_s(self) -> float:
        """Seconds from one picture to the next; 0: as fast as they are asked for."""
        return 1 / self._fps if self._fps else 0.0

    def open(self) -> None:
        """List the pictures.

        Raises:
            CameraError: the folder cannot be read, or holds no pictures.
        """
        try:
            paths = [path for path in self._path.iterdir() if _is_picture(path)]
        except OSError as error:
            raise CameraError(
                f"Cannot read the folder {str(self._path)!r}: {error.strerror}, expected one with "
                "pictures in it. Check its permissions."
            ) from error
        if not paths:
            raise CameraError(
                f"The folder {str(self._path)!r} holds no pictures, expected files such as "
                f"0001.jpg ({', '.join(sorted(_SUFFIXES))}). Check the path."
            )
        self._paths = iter(sorted(paths, key=_order))

    def read(self) -> Picture | None:
        """Read the next picture; None after the last.

        Raises:
            BadPictureError: the file cannot be read as a picture.
        """
        path = next(self._paths, None)
        if path is None:
            return None
        try:
            rgb = np.asarray(load_image(path))  # [H, W, 3]
        except InputError as error:
            raise BadPictureError(str(error)) from error
        return Picture(np.ascontiguousarray(rgb[..., ::-1]))

    def interrupt(self) -> None:
        """Do nothing: a picture is soon read."""

    def close(self) -> None:
        """Forget the pictures that are left."""
        self._paths = iter(())


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


def _order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort by the words and the numbers of a name, then by the name itself."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", path.name)
    return [(int(digits or -1), word) for digits, word in parts], path.name
