"""A picture of a job that is not decoded yet, and why one gives no answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from snow_runtime.errors import InputError
from snow_runtime.pictures.plain_file import load_plain_file
from snow_runtime.pictures.preprocessing import decode_image
from snow_runtime.score.locations import Location, read_whole

if TYPE_CHECKING:
    from PIL import Image

FailureKind = Literal["unreadable", "not fetched", "not computed", "ended its process"]
_TRIES: Final = 3
_WAIT_S: Final = 0.5


class JobPictureError(Exception):
    """A picture gives no answer.

    Attributes:
        kind: Where it failed.
    """

    kind: FailureKind


class UnreadableError(JobPictureError):
    """It is not there, or no picture that can be read."""

    kind: FailureKind = "unreadable"


class NotFetchedError(JobPictureError):
    """The store that it is in does not give it out; another time it may."""

    kind: FailureKind = "not fetched"


@dataclass(frozen=True)
class JobPicture:
    """A picture that is not decoded yet.

    Attributes:
        id: What it is called in the output.
        location: File system that its path is on.
        path: Its file; None where the bytes are there.
        data: The bytes of its file; None where they are read from the path.
        error: Why there is neither.
    """

    id: str
    location: Location | None = None
    path: str | None = None
    data: bytes | None = None
    error: str | None = None

    def load(self) -> Image.Image:
        """Read and decode it, as `predict` does.

        Raises:
            JobPictureError: It cannot be read, or is no picture.
        """
        if self.error is not None:
            raise UnreadableError(self.error)
        try:
            if self.data is not None:
                return decode_image(self.data, self.id)
            if self.location is None or self.path is None:
                msg = f"{self.id} is empty, expected a picture."
                raise UnreadableError(msg)
            if self.location.local:
                return load_plain_file(Path(self.path))
            return decode_image(_fetched(self.location, self.path), self.id)
        except InputError as error:
            raise UnreadableError(str(error)) from error
        except (OSError, ValueError) as error:  # a name that no file can have
            msg = f"{self.id!r} cannot be read: {error}. Check its path, or leave it out."
            raise UnreadableError(msg) from error


def _fetched(location: Location, path: str, tries: int = _TRIES) -> bytes:
    """Fetch a file from a store, and try again where it may work later.

    Raises:
        JobPictureError: It is not there, or cannot be fetched.
    """
    try:
        return read_whole(location, path)
    except FileNotFoundError as error:
        msg = f"{location.named(path)} is not there any more: {error}"
        raise UnreadableError(msg) from error
    except OSError as error:
        if tries == 1:
            msg = f"{location.named(path)} cannot be fetched, tried {_TRIES} times: {error}"
            raise NotFetchedError(msg) from error
    time.sleep(_WAIT_S)
    return _fetched(location, path, tries - 1)
