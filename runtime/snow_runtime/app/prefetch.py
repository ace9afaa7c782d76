"""Taking and preparing the next frames while the model computes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from snow_runtime.errors import SnowError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from snow_runtime.pictures.prepared import Prepared

_FOLLOW: Final = 0.2  # the share of the newest duration in a running mean
_MARGIN: Final = 2.0  # preparing begins so many times its duration before it has to be done


Item = TypeVar("Item")
"""A frame, or what is looked at of one."""


@dataclass(frozen=True)
class PreparedFrames(Generic[Item]):
    """Frames that wait for the model.

    Attributes:
        frames: The frames, one a camera at most; or what is looked at of them.
        prepared: What the model takes, or why they could not be prepared.
    """

    frames: list[Item]
    prepared: Prepared | SnowError


class Prefetcher(Generic[Item]):
    """A thread that has the next frames ready when the model asks for them.

    Frames taken as early as possible would be old when their turn comes. So the thread notes how
    long the model computes and how long preparing takes, and takes the frames that are the newest
    just before they are needed.

    Used as a context manager, within which the thread runs.

    Args:
        fetch: Function that gives frames, or none where there is nothing at the moment; None when
            there will be no more. It returns in a fraction of a second.
        prepare: Function that prepares them.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], list[Item] | None],
        prepare: Callable[[list[Item]], Prepared],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._prepare = prepare
        self._clock = clock
        self._changed = threading.Condition()
        self._ready: PreparedFrames[Item] | None = None
        self._wanted = True  # whether somebody waits for frames
        self._handed_s = 0.0
        self._busy_s = self._takes_s = 0.0  # running means: of the model, and of preparing
        self._stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="prepare", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether nothing is ready, and nothing will be."""
        with self._changed:
            return self._ready is None and self._stopped

    def next(self, timeout_s: float) -> PreparedFrames[Item] | None:
        """Wait for the next frames.

        Args:
            timeout_s: How long, in seconds.

        Returns:
            The prepared frames; None if none came in time, or none will.

        Raises:
            Exception: What the thread failed with.
        """
        with self._changed:
            if not self._wanted:
                self._busy_s = _follow(self._busy_s, self._clock() - self._handed_s)
            self._wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ready is not None or self._stopped, timeout_s)
            if self._failure is not None:
                raise self._failure
            found, self._ready = self._ready, None
            if found is not None:
                self._wanted = False
                self._handed_s = self._clock()
                self._changed.notify_all()
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def unused(self) -> int:
        """How many frames were made ready that nobody fetched."""
        return 0 if self._ready is None else len(self._ready.frames)

    def _run(self) -> None:
        try:
            while self._wait_until_due():
                frames = self._fetch()
                if frames is None:
                    break
                if frames:
                    self._put(self._make(frames))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever asks
            self._failure = error
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _wait_until_due(self) -> bool:
        """Wait for the moment to take frames; give whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready is None or self._stopped)
            while not self._wanted and not self._stopped:
                early = self._busy_s - _MARGIN * self._takes_s
                left_s = self._handed_s + early - self._clock()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            return not self._stopped

    def _make(self, frames: list[Item]) -> PreparedFrames[Item]:
        began_s = self._clock()
        try:
            prepared = self._prepare(frames)
        except SnowError as error:
            return PreparedFrames(frames, error)
        self._takes_s = _follow(self._takes_s, self._clock() - began_s)
        return PreparedFrames(frames, prepared)

    def _put(self, ready: PreparedFrames[Item]) -> None:
        with self._changed:
            self._ready = ready
            self._changed.notify_all()


def _follow(mean: float, newest: float) -> float:
    return newest if mean == 0 else mean + _FOLLOW * (newest - mean)
