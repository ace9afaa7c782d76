"""Keeping frames of a running loop: chosen at once, encoded and written by a thread.

Nothing here holds up the loop, and nothing that goes wrong with the disk reaches it.
"""

from __future__ import annotations

import io
import logging
import queue
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.closing import Closing
from snow_runtime.collection.collection import DATABASE, Collection
from snow_runtime.collection.masks import Masking
from snow_runtime.collection.overview import kept_between
from snow_runtime.collection.records import NewPicture
from snow_runtime.collection.selection import Selector
from snow_runtime.errors import CollectionError
from snow_runtime.files import free_bytes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from snow_runtime.collection.options import CollectionOptions
    from snow_runtime.collection.selection import Pick, Sighting

_LOGGER = logging.getLogger(__name__)
SPARE_BYTES: Final = 64 << 20
"""Nothing is kept while less than this is free."""
_WAITING: Final = 4  # frames, each of some megabytes
_END_S: Final = 0.8
_PAUSE_S: Final = 5.0  # until it is tried again
_REMEMBERED: Final = 512  # pictures, when it begins
_QUALITY: Final = 90
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame that may be kept.

    Attributes:
        image: The whole picture, uint8 `[H, W, 3]`, blue first; nobody writes to it.
        cut: Function that gives the view of a whole picture.
        seen: What was seen of the view.
        answers: Answers as JSON, by question or task.
        source_sha256: SHA-256 of the source.
        model_sha256: SHA-256 of what answered.
    """

    image: NDArray[np.uint8]
    cut: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    seen: Sighting
    answers: Mapping[str, Mapping[str, Any]]
    source_sha256: str
    model_sha256: str


class Collector(Closing):
    """Keeps what is worth a label in a collection.

    One that is there and cannot be opened, since its disk is full or fails, is tried again later:
    answers do not wait for it.

    Args:
        folder: The collection's; made where there is none.
        options: How much is kept.
        count: Callback that gets `collected` for each picture that is kept, and `collect_dropped`
            for each that should have been and is not.
        masking: What is blacked out; None for nothing.
        selector: What chooses; None for the usual.

    Raises:
        CollectionError: There is none and it cannot be made, or it is of something else.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        options: CollectionOptions,
        count: Callable[[str], None],
        masking: Masking | None = None,
        selector: Selector | None = None,
    ) -> None:
        self._folder = Path(folder)
        self._options = options
        self._count = count
        self._masking = Masking({}) if masking is None else masking
        self._selector = Selector(options) if selector is None else selector
        self._paused_until_s: float | None = None
        self._memory: list[Callable[[], None]] | None = None  # for `choose`; None before it is read
        self._collection = self._first_opened()
        self._inode = self._inode_now()
        self._ending = False
        self._waiting: queue.Queue[tuple[Shown, Pick] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="collect", daemon=True)
        self._thread.start()

    def _first_opened(self) -> Collection | None:
        """Open the collection, and learn what it has; None where its disk does not let us.

        Raises:
            CollectionError: There is none and it cannot be made, or it is of something else.
        """
        there = self._inode_now() is not None
        collection = None
        try:
            collection = Collection.open(self._folder, create=True, options=self._options)
            self._memory = self._read_memory(collection)
        except CollectionError as error:
            if collection is not None:
                collection.close()
            if not there or not isinstance(error.__cause__, (sqlite3.Error, OSError)):
                raise
            self._pause(error)
            return None
        return collection

    def choose(self, seen: Sighting) -> Pick | None:
        """Say why a frame is to be kept; None where it is not. One thread may ask."""
        while self._memory:
            self._memory.pop()()
        return self._selector.choose(seen)

    def keep(self, shown: Shown, choice: Pick) -> None:
        """Leave a frame to be kept; where the disk is slow it is dropped at once."""
        try:
            self._waiting.put_nowait((shown, choice))
        except queue.Full:
            self._count("collect_dropped")

    def close(self) -> None:
        """Keep what waits, as far as that takes less than a second, and close the collection.

        A second time does nothing.
        """
        if not self._thread.is_alive():
            return
        ends = time.monotonic() + _END_S
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_END_S)
        self._thread.join(max(0.0, ends - time.monotonic()))
        if self._thread.is_alive():  # the disk hangs; nothing can end the thread
            self._ending = True
            _LOGGER.warning("%s was left unfinished: the disk does not answer", self._folder)
        elif self._collection is not None:
            self._collection.close()

    def _read_memory(
        self, collection: Collection, *, late: bool = False
    ) -> list[Callable[[], None]]:
        """Read what was kept before; give what lets the selector know it, the last one first."""
        memory: list[Callable[[], None]] = []
        for picture in reversed(collection.pictures(limit=_REMEMBERED, newest_first=True)):
            if picture.features_width is not None:
                with suppress(CollectionError):  # deleted meanwhile, or damaged
                    features = collection.features([picture.id])[0]
                    known = picture.camera, picture.view, features
                    memory.append(partial(self._selector.remember, *known))
        if late:  # of the hour's budget some is spent already, on what was dropped
            return memory[::-1]
        now = time.time()
        for place, kept in kept_between(collection.database, now - _HOUR_S, now).items():
            ages = {
                each: [now - at for drawn, at in kept if drawn == each] for each in (True, False)
            }
            memory.append(partial(self._selector.spent, *place, ages[True], ages[False]))
        return memory[::-1]

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None and not self._ending:
            try:
                kept = self._keep(*item)
            except Exception:  # a mask that fails must not store what it was to hide
                _LOGGER.exception("a frame could not be collected")
                kept = False
            if kept:
                self._count("collected")
            elif kept is not None:
                self._count("collect_dropped")

    def _keep(self, shown: Shown, choice: Pick) -> bool | None:
        """Keep a frame; None where it is there already."""
        if self._paused_until_s is not None and time.monotonic() < self._paused_until_s:
            return False
        try:
            found = self._opened().add(self._picture(shown, choice))
        except CollectionError as error:
            self._pause(error)
            self._let_go()
            return False
        if self._paused_until_s is not None:
            _LOGGER.warning("collecting in %s goes on", self._folder)
            self._paused_until_s = None
        return None if found is None else True

    def _pause(self, error: CollectionError) -> None:
        if self._paused_until_s is None:
            _LOGGER.warning("collecting pauses: %s", error)
        self._paused_until_s = time.monotonic() + _PAUSE_S

    def _opened(self) -> Collection:
        """Return the collection, which may lie on a disk that was away in between.

        Raises:
            CollectionError: It is gone, or has no room.
        """
        if self._collection is None:
            # Never made anew: where its disk is not mounted, another one would fill up.
            self._collection = Collection.open(self._folder, options=self._options)
            self._inode = self._inode_now()
            if self._memory is None:  # it could not be opened before
                self._memory = self._read_memory(self._collection, late=True)
        elif self._inode_now() != self._inode:
            msg = f"the collection in {self._folder} is gone. Put it back, or start anew."
            raise CollectionError(msg)
        if free_bytes(self._folder) < SPARE_BYTES:
            msg = (
                f"the disk of {self._folder} is full, expected {SPARE_BYTES >> 20} MiB free. Make "
                "room."
            )
            raise CollectionError(msg)
        return self._collection

    def _let_go(self) -> None:
        if self._collection is not None:
            self._collection.close()
            self._collection = None

    def _inode_now(self) -> int | None:
        try:
            return (self._folder / DATABASE).stat().st_ino
        except OSError:
            return None

    def _picture(self, shown: Shown, choice: Pick) -> NewPicture:
        seen = shown.seen
        features = None
        if self._options.features:
            largest = np.finfo(np.float16).max
            features = np.clip(seen.features, -largest, largest).astype(np.float16)
        return NewPicture(
            _encoded(shown.cut(self._masking.masked(shown.image, seen.camera))),
            seen.camera,
            seen.view,
            seen.taken_at,
            choice.reason,
            features,
            "" if features is None else shown.source_sha256,
            shown.model_sha256,
            shown.answers,
            choice.novelty,
        )


def _encoded(image: NDArray[np.uint8]) -> bytes:
    """Encode a picture, uint8 `[H, W, 3]`, blue first, as JPEG."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
