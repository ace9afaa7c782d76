"""The picture files of a collection, named for the hash of what they hold."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from snow_runtime.errors import CollectionError
from snow_runtime.files import atomic_write, sync_folder, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
            CollectionError: It is not there, or cannot be read.
        """
        try:
            return self.path(sha256).read_bytes()
        except OSError as error:
            msg = (
                f"A picture of the collection cannot be read: {error}. Delete it from the "
                "collection, or put the folder's files back."
            )
            raise CollectionError(msg) from error

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
