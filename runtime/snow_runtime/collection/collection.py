"""A folder of pictures with features, answers and labels.

::

    FOLDER/collection.sqlite            what is known of the pictures, the questions, the labels
    FOLDER/pictures/ab/abcd….jpg        the pictures, named for their SHA-256
    FOLDER/versions/QUESTION/           a question's readouts

A picture's file is written before its row, and both while no other process writes. So a row always
has its file; a file without a row is swept away at the next opening.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.closing import Closing
from snow_runtime.collection import journal, questions, room
from snow_runtime.collection.database import Database
from snow_runtime.collection.disposal import Disposal, Going
from snow_runtime.collection.picture_files import PictureFiles
from snow_runtime.collection.pictures import (
    Chosen,
    add_picture,
    chosen_pictures,
    existing,
    id_of_picture,
    sha256_of,
    stored_features,
    summary_of,
)
from snow_runtime.errors import CollectionError
from snow_runtime.files import writing

if TYPE_CHECKING:
    import os
    from collections.abc import Collection as Some
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.collection.options import CollectionOptions
    from snow_runtime.collection.records import (
        CollectedPicture,
        CollectionQuestion,
        GivenLabel,
        LabelCounts,
        NewPicture,
        UndoneLabels,
    )

DATABASE: Final = "collection.sqlite"


class Collection(Closing):
    """A collection that is open; several threads may use it, and several processes their own.

    A process that was forked opens its own.
    """

    def __init__(self, folder: Path, database: Database, files: PictureFiles) -> None:
        self.folder = folder
        self.database = database
        self._files = files
        self._disposal = Disposal(folder, database, self._files)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        create: bool = False,
        options: CollectionOptions | None = None,
    ) -> Collection:
        """Open a collection, and sweep away what an interrupted process left.

        Args:
            folder: Its folder.
            create: Whether an empty one is made where there is none.
            options: How much it keeps; None as before.

        Raises:
            CollectionError: There is none, it cannot be read or written, is damaged, or a newer
                version wrote it.
        """
        folder = Path(folder)
        if create:
            with writing(folder, CollectionError, "Name a folder that this user may write to."):
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir(mode=0o700, exist_ok=True)  # pictures are its user's alone
        files = PictureFiles(folder / "pictures")
        found = cls(folder, Database(folder / DATABASE, files, create=create), files)
        try:
            if options is not None and options.size_bytes is not None:
                found._resize(options.size_bytes)
            found._disposal.sweep()
        except BaseException:
            found.close()
            raise
        return found

    def close(self) -> None:
        """Close it; a second time does nothing."""
        self.database.close()

    @property
    def size_bytes(self) -> int:
        """Bytes of pictures and features together, at most."""
        with self.database.reading() as connection:
            return room.room_of(connection)

    def add(self, picture: NewPicture, *, by_deleting: bool = True) -> int | None:
        """Keep a picture, and let older ones go where there is no room.

        Args:
            picture: The picture.
            by_deleting: Whether others may go for it.

        Returns:
            Its id; None where it is kept already, or there is no room for it.

        Raises:
            CollectionError: It cannot be written, or is no JPEG.
        """
        try:
            with self.database.writing() as connection:
                found, gone = add_picture(connection, self._files, picture, by_deleting=by_deleting)
        except CollectionError:  # a full disk: leave it no fuller than it was
            with suppress(CollectionError):
                self._disposal.remove_files([hashlib.sha256(picture.jpeg).hexdigest()])
            raise
        self._disposal.remove_files(gone)
        return found

    def find(self, picture: NewPicture) -> int | None:
        """Return the id of a picture that is kept already; None where it is not."""
        sha256 = hashlib.sha256(picture.jpeg).hexdigest()
        with self.database.reading() as connection:
            return id_of_picture(connection, sha256, picture.camera, picture.view)

    def questions(self) -> tuple[CollectionQuestion, ...]:
        """Return the questions by name."""
        with self.database.reading() as connection:
            return questions.all_questions(connection)

    def question(self, name: str) -> CollectionQuestion:
        """Return the question of a name.

        Raises:
            CollectionError: There is none; the message names those that there are.
        """
        with self.database.reading() as connection:
            return questions.question_named(connection, name)

    def add_question(self, question: CollectionQuestion) -> None:
        """Ask something of the pictures.

        Raises:
            CollectionError: Its name or its classes cannot be used, or the name is taken.
        """
        with self.database.writing() as connection:
            questions.insert_question(connection, question)

    def add_classes(self, name: str, more: Sequence[str]) -> None:
        """Give a question classes more, beside those that it has by now.

        Raises:
            CollectionError: There is no such question, or they cannot be used.
        """
        with self.database.writing() as connection:
            there = questions.question_named(connection, name).labels
            new = [each for each in dict.fromkeys(more) if each not in there]
            if new:
                questions.update_labels(connection, name, (*there, *new))

    def change_question(self, name: str, *, labels: Sequence[str]) -> None:
        """Give a question other classes.

        Raises:
            CollectionError: There is no such question, the classes cannot be used, or one that
                pictures are labelled with would go.
        """
        with self.database.writing() as connection:
            questions.update_labels(connection, name, labels)

    def remove_question(self, name: str) -> None:
        """Delete a question with its labels and its readouts.

        Raises:
            CollectionError: There is none of this name, or its files cannot be deleted.
        """
        with self.database.writing() as connection:
            questions.delete_question(connection, name)
        self._disposal.remove_folder(self.folder / "versions" / name)

    def pictures(
        self,
        question: str | None = None,
        *,
        labelled: bool | None = None,
        reasons: Some[str] | None = None,
        ids: Iterable[int] | None = None,
        after: int = 0,
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[CollectedPicture]:
        """Return pictures in the order in which they were kept.

        Args:
            question: Name of the question that they are to be about; None for all pictures.
            labelled: True for those with a label of this question; False for those without, that
                nobody passed over either; None for both.
            reasons: Why they were kept; None for any reason.
            ids: Their ids; None for all.
            after: The id of the last picture of the page before; 0 for the first page.
            limit: Number of pictures, at most.
            newest_first: Whether to begin with the newest.

        Raises:
            CollectionError: There is no such question.
        """
        with self.database.reading() as connection:
            asked = None if question is None else questions.question_named(connection, question)
            chosen = Chosen(asked, labelled, reasons, ids, after, limit, newest_first)
            return chosen_pictures(connection, chosen)

    def counts(self, question: str) -> LabelCounts:
        """Count a question's pictures.

        Raises:
            CollectionError: There is no such question.
        """
        with self.database.reading() as connection:
            return questions.count(connection, questions.question_named(connection, question))

    def summary(self) -> dict[str, Any]:
        """Return plain JSON values: `pictures`, `stored_bytes`, and `views` with their reasons."""
        with self.database.reading() as connection:
            return summary_of(connection)

    def features(self, ids: Sequence[int]) -> NDArray[np.float16]:
        """Return the pictures' features, float16 `[M, F]`, in the order of the ids.

        Raises:
            CollectionError: A picture is gone, has no features, or as many as another source gives.
        """
        with self.database.reading() as connection:
            return stored_features(connection, ids)

    def jpeg(self, picture: int) -> bytes:
        """Return a picture as a JPEG file.

        Raises:
            CollectionError: It is gone, or cannot be read.
        """
        with self.database.reading() as connection:
            sha256 = sha256_of(connection, picture)
        return self._files.read(sha256)

    def damaged(self) -> list[int]:
        """Return the pictures whose file is missing, or not what it was."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT id, sha256 FROM pictures ORDER BY id").fetchall()
        return [picture for picture, sha256 in rows if not self._files.is_whole(sha256)]

    def label(self, ids: Iterable[int], question: str, label: GivenLabel, by: str) -> int:
        """Give pictures a label, in one entry of the journal.

        Args:
            ids: The pictures; those that are gone, or not of the question's view, are left out.
            question: Name of the question.
            label: The label, or a tuple of those that are right where several may be; None passes
                the pictures over.
            by: Who says so.

        Returns:
            How many were labelled.

        Raises:
            CollectionError: There is no such question, or no such label.
        """
        with self.database.writing() as connection:
            asked = questions.question_named(connection, question)
            questions.check_label(asked, label)
            found = existing(connection, ids, asked)
            if found:
                journal.add_entry(connection, found, question, label, by)
            return len(found)

    def undo(self, question: str, by: str) -> UndoneLabels | None:
        """Take back somebody's last labels that are not taken back yet; nobody else's.

        Returns:
            What was taken back; None where there is nothing.

        Raises:
            CollectionError: There is no such question.
        """
        with self.database.writing() as connection:
            questions.question_named(connection, question)
            return journal.undo_entry(connection, question, by)

    def labels(self, question: str) -> dict[int, str | tuple[str, ...]]:
        """Return the labels by picture; those passed over are left out.

        Raises:
            CollectionError: There is no such question.
        """
        return {
            picture: each for picture, each in self._current(question).items() if each is not None
        }

    def skipped(self, question: str) -> set[int]:
        """Return the pictures that were passed over.

        Raises:
            CollectionError: There is no such question.
        """
        return {picture for picture, each in self._current(question).items() if each is None}

    def revision(self, question: str) -> int:
        """Return a number that grows with each change of the question's labels and classes.

        Raises:
            CollectionError: There is no such question.
        """
        with self.database.reading() as connection:
            questions.question_named(connection, question)
            row = connection.execute("SELECT revision FROM questions WHERE name = ?", (question,))
            return int(row.fetchone()[0])

    def delete(
        self,
        ids: Iterable[int] | None = None,
        *,
        before: float | None = None,
        camera: str | None = None,
        everything: bool = False,
    ) -> int:
        """Delete pictures with their features and labels; nothing of them stays in the files.

        Args:
            ids: Only these pictures.
            before: Only those taken before this time, in seconds since 1970 (UTC).
            camera: Only those of this camera.
            everything: Whether all pictures go, and all questions and readouts with them.

        Returns:
            How many were deleted.

        Raises:
            CollectionError: Some cannot be deleted, or another process has been reading for long.
            ValueError: It is not said which.
        """
        if not everything and ids is None and before is None and camera is None:
            msg = "It is not said which pictures to delete: give ids, before, camera or everything."
            raise ValueError(msg)
        which = Going() if everything else Going(None if ids is None else list(ids), before, camera)
        return self._disposal.delete(which, everything=everything)

    def _current(self, question: str) -> dict[int, GivenLabel]:
        with self.database.reading() as connection:
            questions.question_named(connection, question)
            return journal.current(connection, question)

    def _resize(self, size_bytes: int) -> None:
        if self.size_bytes != size_bytes:
            with self.database.writing() as connection:
                room.give_room(connection, size_bytes)
