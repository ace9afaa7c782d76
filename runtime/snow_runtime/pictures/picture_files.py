"""Which files of a folder are pictures, which are left out, and why: one rule for all readers.

Training, calibration and the folder camera ask here. A file is a picture by its ending, if Pillow
can decode that format on this machine. What operating systems, photo tools and network storage
leave behind is none: hidden files and folders, thumbnails, bins, the halves of foreign files.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Final, NamedTuple

# Formats that Pillow recognises but can't decode by itself: a stub, or an outside program.
_NOT_DECODED: Final = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})

_LEFT_FILES: Final = re.compile(
    r"(eh)?thumbs(_vista)?\.db|desktop\.ini|autorun\.inf|albumart(small\.jpg|_\{.*)"  # Windows
    r"|icon\r|desktop d[bf]"  # macOS
    r"|picasa\.ini|zbthumbnail\.info|pspbrwse\.jbf|synophoto_thumb_.*",  # photo tools
    re.IGNORECASE,
)
_LEFT_FOLDERS: Final = re.compile(
    r"\$recycle\.bin|system volume information|found\.\d{3}"  # Windows
    r"|(?-i:RECYCLER|RECYCLED)"  # in capitals only: in a set about waste it is a class
    r"|__macosx|network trash folder|temporary items"  # macOS
    r"|the(volumesettings|findbycontent)folder"
    r"|lost\+found|lost\.dir"  # Linux, Android
    r"|@eadir|#recycle|#snapshot|@tmp|@sharebin|@recycle|@recently-snapshot|@__thumb"  # storage
    r"|@transcode|~snapshot|network recycle bin( \d)?"
    r"|\[originals\]|captureone|ipod photo cache|_vti_cnf|_derived|__pycache__"  # tools
    r"|.*\.(photoslibrary|migratedphotolibrary|aplibrary|lrdata|cocatalog)",
    re.IGNORECASE,
)


class Reason(NamedTuple):
    """Why something is left out, as what it is then called: one of it, and several."""

    one: str
    many: str


_HIDDEN_FILE: Final = Reason("hidden file", "hidden files")
_HIDDEN_FOLDER: Final = Reason("hidden folder", "hidden folders")
_LEFT_FILE: Final = Reason(
    "file that a system or photo tool left", "files that a system or photo tool left"
)
_LEFT_FOLDER: Final = Reason(
    "folder that a system or photo tool left", "folders that a system or photo tool left"
)
_NO_ENDING: Final = Reason("file without an ending", "files without an ending")


@functools.cache
def picture_endings() -> frozenset[str]:
    """Return the endings, lower case with their dot, of the formats that Pillow can decode."""
    from PIL import Image

    endings = Image.registered_extensions()
    readable = set(Image.OPEN) - _NOT_DECODED
    return frozenset(ending for ending, kind in endings.items() if kind in readable)


def why_no_picture(name: str) -> Reason | None:
    """Say why a file of this name is left out; None for a picture."""
    if name.startswith("."):
        return _HIDDEN_FILE
    if _LEFT_FILES.fullmatch(name):
        return _LEFT_FILE
    stem, _, ending = name.rpartition(".")
    ending = f".{ending.lower()}"
    if not stem or ending == ".":
        return _NO_ENDING
    if ending not in picture_endings():
        return Reason(
            f"{ending} file, which is not read here", f"{ending} files, which are not read here"
        )
    return None


def why_no_folder(name: str) -> Reason | None:
    """Say why a folder of this name is left out; None for one to look into."""
    if name.startswith("."):
        return _HIDDEN_FOLDER
    return _LEFT_FOLDER if _LEFT_FOLDERS.fullmatch(name) else None


class LeftOut:
    """What was left out of a folder: how much, why, and the first of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[Reason] = Counter()
        self._first: dict[Reason, str] = {}

    def __bool__(self) -> bool:
        """Tell whether anything was."""
        return bool(self._counts)

    def note(self, reason: Reason, name: str) -> None:
        """Count one thing, by its name for the first of its kind."""
        self._counts[reason] += 1
        self._first.setdefault(reason, name)

    def takes(self, name: str, *, shown: str | None = None) -> bool:
        """Tell whether a file is a picture; count it if not.

        Args:
            name: The file's, without its folder.
            shown: What to call it.
        """
        return self._passes(why_no_picture(name), shown or name)

    def enters(self, name: str, *, shown: str | None = None) -> bool:
        """Tell whether a folder is looked into; count it if not."""
        return self._passes(why_no_folder(name), shown or name)

    def summary(self) -> str:
        """Say it in a line, the most frequent first: "2 hidden files ('a/.x' and others); …"."""
        parts = sorted(self._counts.items(), key=lambda part: (-part[1], part[0]))
        return "; ".join(
            f"1 {reason.one} ({self._first[reason]!r})"
            if count == 1
            else f"{count} {reason.many} ({self._first[reason]!r} and others)"
            for reason, count in parts
        )

    def _passes(self, reason: Reason | None, name: str) -> bool:
        if reason is not None:
            self.note(reason, name)
        return reason is None


def examples() -> str:
    """Name some endings that are read here, for a message."""
    usual = (".jpg", ".png", ".tiff", ".webp", ".bmp")
    return ", ".join(ending for ending in usual if ending in picture_endings())
