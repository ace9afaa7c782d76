"""Tars of pictures, as WebDataset has them: read from beginning to end, and found whole.

Members whose names agree up to the first dot of the file's name are one sample: `0001.jpg` and
`0001.cls`. A tar ends with blocks of zeros; one that ends without them was cut off.
"""

from __future__ import annotations

import tarfile
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

ENDINGS: Final = (".tar", ".tar.gz", ".tgz")
MOST_BYTES: Final = 1 << 30
"""Larger files in a tar are passed over: one that is sparse may claim any size."""


class Member(NamedTuple):
    """A file in a tar.

    Attributes:
        name: Its name.
        offset: Where its content begins, in bytes; of a compressed tar in what it unpacks to.
        size: Bytes of its content.
        content: They, unless they were not asked for, or are more than `MOST_BYTES`.
    """

    name: str
    offset: int
    size: int
    content: bytes | None

    @property
    def key(self) -> str:
        """What it shares with the other members of its sample."""
        return split_name(self.name)[0]

    @property
    def ending(self) -> str:
        """What follows the key, in lower case and without the first dot: `jpg`, `seg.png`."""
        return split_name(self.name)[1]


def split_name(name: str) -> tuple[str, str]:
    """Split a member's name into key and ending, at the first dot behind its last slash."""
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def is_tar(name: str) -> bool:
    """Tell by its name whether a file is a tar."""
    return name.lower().endswith(ENDINGS)


def read_members(
    stream: Any, name: str, *, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[Member]:
    """Yield the files of a tar, compressed or not, in the order in which they are there.

    Args:
        stream: It, open for reading bytes; it is read once, from beginning to end.
        name: What to call it in a message.
        wanted: Callback that tells by a file's name whether what is in it is read too.

    Raises:
        InputError: It is no tar, is damaged, or ends too early; what stood before was yielded.
    """
    count = 0
    try:
        # Errors of level 1 and above are raised, so that a damaged header does not end it silently.
        with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Header, errorlevel=1) as archive:
            for info in archive:
                if not info.isfile() or info.name.rpartition("/")[2].startswith("."):
                    continue
                content = None
                if info.size <= MOST_BYTES and wanted(info.name):
                    extracted = archive.extractfile(info)
                    content = b"" if extracted is None else extracted.read()
                    _check_length(info, content)
                count += 1
                yield Member(info.name, info.offset_data, info.size, content)
            if not getattr(archive, "saw_end", False):
                raise _cut_off(name, count, "there is no mark of its end")
    except InputError:
        raise
    except tarfile.ReadError as error:
        if count == 0 and "not" in str(error) and "open" in str(error):
            msg = (
                f"{name} is no tar that can be read: {error}. Expected a tar of pictures, plain "
                "or compressed with gzip. Make it again, or leave it out."
            )
            raise InputError(msg) from error
        raise _cut_off(name, count, str(error)) from error
    # TypeError: tarfile takes the head of a compressed file apart without a look at its length.
    except (tarfile.TarError, EOFError, zlib.error, TypeError) as error:
        raise _cut_off(name, count, str(error)) from error
    except OSError as error:
        msg = (
            f"{name} cannot be read behind its first {count} files: {error}. See whether the disk "
            "or the store that it is on is sound."
        )
        raise InputError(msg) from error


def _check_length(info: tarfile.TarInfo, content: bytes) -> None:
    if len(content) != info.size:
        msg = f"{info.name} has {len(content)} of its {info.size} bytes"
        raise tarfile.ReadError(msg)


def _cut_off(name: str, count: int, reason: str) -> InputError:
    return InputError(
        f"The tar {name} is damaged or cut off behind its first {count} files: {reason}. Copy it "
        "again and compare its size with the original's, or pack it anew."
    )


class _Header(tarfile.TarInfo):
    """A member's header; notes on its archive that the mark of the end was seen."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            tarfile_.saw_end = True  # type: ignore[attr-defined]
            raise
