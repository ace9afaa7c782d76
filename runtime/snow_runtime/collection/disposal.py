"""What leaves a collection: rows with their files, readouts, and what killed processes left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_runtime.collection.database import is_full
from snow_runtime.collection.deletion import chosen_to_go, delete_rows
from snow_runtime.collection.pictures import is_kept
from snow_runtime.collection.questions import all_questions
from snow_runtime.collection.version_folders import remove_whole, sweep_versions
from snow_runtime.errors import CollectionError
from snow_runtime.files import writing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_runtime.collection.database import Database
    from snow_runtime.collection.picture_files import PictureFiles

_ADVICE = "See that this user may delete it."


@dataclass(frozen=True)
class Going:
    """Which pictures go; what is not said is any.

    Attributes:
        ids: Only these.
        before: Only those taken before this time, in seconds since 1970 (UTC).
        camera: Only those of this camera.
    """

    ids: Sequence[int] | None = None
    before: float | None = None
    camera: str | None = None


class Disposal:
    """Deletes from a collection.

    Args:
        folder: The collection's folder.
        database: Its database.
        files: Its picture files.
    """

    def __init__(self, folder: Path, database: Database, files: PictureFiles) -> None:
        self._versions = folder / "versions"
        self._database = database
        self._files = files

    def delete(self, going: Going, *, everything: bool) -> int:
        """Delete pictures, and with `everything` questions and readouts too; return how many.

        Raises:
            CollectionError: Some cannot be deleted, or another process has been reading for long.
        """
        try:
            gone = self._delete_rows(going, everything=everything)
        except CollectionError as error:
            if not is_full(error):
                raise
            self._remove_files_first(going)  # which makes the room that the database wants
            gone = self._delete_rows(going, everything=everything)
        self.remove_files(gone)
        if everything:
            self.remove_folder(self._versions)
        self._sweep_versions()
        self._database.wipe()
        return len(gone)

    def remove_files(self, gone: Sequence[str]) -> None:
        """Delete files whose rows are gone, unless somebody has kept the picture again.

        Raises:
            CollectionError: One cannot be deleted.
        """
        if gone:
            with self._database.writing() as connection:
                for sha256 in gone:
                    if not is_kept(connection, sha256):
                        self._files.remove(sha256)

    def remove_folder(self, folder: Path) -> None:
        """Delete a folder, whoever writes to it.

        Raises:
            CollectionError: It cannot be deleted.
        """
        with writing(folder, CollectionError, _ADVICE):
            remove_whole(folder)

    def sweep(self) -> None:
        """Delete what processes left that were killed: files that no row names, and fits.

        Raises:
            CollectionError: It cannot be deleted, or the database cannot be read.
        """
        self._sweep_versions()
        with self._database.reading() as connection:
            known = {sha256 for (sha256,) in connection.execute("SELECT sha256 FROM pictures")}
        left = [path for path in self._files.found() if path.stem not in known]
        if left:
            with self._database.writing() as connection:  # nobody is between the two now
                for path in left:
                    if not is_kept(connection, path.stem):
                        with writing(path, CollectionError, _ADVICE):
                            path.unlink(missing_ok=True)

    def _delete_rows(self, going: Going, *, everything: bool) -> list[str]:
        with self._database.writing() as connection:
            rows = chosen_to_go(connection, going.ids, going.before, going.camera)
            delete_rows(connection, [picture for picture, _ in rows])
            if everything:
                connection.execute("DELETE FROM questions")
        return [sha256 for _, sha256 in rows]

    def _remove_files_first(self, going: Going) -> None:
        """Delete files of pictures whose rows go next, but those that other rows name too."""
        with self._database.reading() as connection:
            rows = set(chosen_to_go(connection, going.ids, going.before, going.camera))
            stays = {sha256 for _, sha256 in set(chosen_to_go(connection)) - rows}
        for _, sha256 in rows:
            if sha256 not in stays:
                self._files.remove(sha256)

    def _sweep_versions(self) -> None:
        with self._database.reading() as connection:
            names = {each.name for each in all_questions(connection)}
        sweep_versions(self._versions, names)
