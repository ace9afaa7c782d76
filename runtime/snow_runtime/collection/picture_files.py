"""The picture files of a collection, named for the hash of what they hold."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from snow_runtime.errors import CollectionError
from snow_runtime.files import atomic_write, sync_folder, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DAMAGED: Final = (
    "Put the folder's files back, or let it go with 'snow-deploy collect delete FOLDER --damaged'."
)


class PictureFiles:
    """JPEG files in a folder, spread over 256 more.

    Args:
        folder: The folder; made with the first file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Return where the file with this content lies, or would."""
        return self._folder / sha256[:2] / f"{sha256}.jpg"

    def write(self, jpeg: bytes) -> str:
        """Put a file there, through to the disk, and return the SHA-256 of its content.

        Raises:
            CollectionError: It cannot be written.
        """
        sha256 = hashlib.sha256(jpeg).hexdigest()
        path = self.path(sha256)
        advice = "Make room on its disk, or see that this user may write there."
        with writing(path, CollectionError, advice):
            if not path.parent.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                sync_folder(self._folder)
            with atomic_write(path) as stream:
                stream.write(jpeg)
        return sha256

    def read(self, sha256: str) -> bytes:
        """Return a file's content.

        Raises:
            CollectionError: It is not there, cannot be read, or is not what it was.
        """
        path = self.path(sha256)
        try:
            found = path.read_bytes()
        except OSError as error:
            msg = f"A picture of the collection cannot be read: {error}. {_DAMAGED}"
            raise CollectionError(msg) from error
        if hashlib.sha256(found).hexdigest() != sha256:
            msg = f"The picture {path} is damaged: its SHA-256 is not its name. {_DAMAGED}"
            raise CollectionError(msg)
        return found

    def is_whole(self, sha256: str) -> bool:
        """Tell whether a file is there, and is what it was."""
        try:
            self.read(sha256)
        except CollectionError:
            return False
        return True

    def remove(self, sha256: str) -> None:
        """Delete a file, if it is there.

        Raises:
            CollectionError: It cannot be deleted.
        """
        path = self.path(sha256)
        with writing(path, CollectionError, "See that this user may delete it, and delete again."):
            path.unlink(missing_ok=True)

    def found(self) -> Iterator[Path]:
        """Give all files that lie there, unfinished ones too."""
        if self._folder.is_dir():
            for folder in self._folder.iterdir():
                if folder.is_dir():
                    yield from folder.iterdir()
