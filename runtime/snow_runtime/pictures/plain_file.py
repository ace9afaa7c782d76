"""Reading the photos of a data set or an archive, where a pipe would be waited for without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.errors import InputError
from snow_runtime.pictures.preprocessing import load_image

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image


def load_plain_file(path: Path) -> Image.Image:
    """Read the photo in a plain file, as :func:`snow_runtime.pictures.preprocessing.load_image`.

    Raises:
        InputError: It is none, such as a pipe, or cannot be read; the message names it.
    """
    try:
        odd = path.exists() and not path.is_file()
    except OSError as error:  # such as of a disk of another machine that is away
        msg = f"Cannot read {str(path)!r}: {error.strerror}. Check the path and its disk."
        raise InputError(msg) from error
    if odd:
        msg = f"{path} is no plain file, expected a picture. Copy the picture there."
        raise InputError(msg)
    return load_image(path)
