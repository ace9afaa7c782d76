"""How a camera is doing: its state, and what it has counted."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from snow_runtime.cameras.clock import Clock, Instant

State = Literal["connecting", "connected", "frozen", "reconnecting", "ended", "failed", "closed"]

_FINAL: Final[tuple[State, ...]] = ("ended", "failed", "closed")


@dataclass(frozen=True, slots=True)
class Status:
    """A camera's state.

    Attributes:
        state: ``connecting`` until the first picture, ``connected`` while pictures come,
            ``frozen`` while nothing but one and the same comes, ``reconnecting`` when they
            stopped; ``ended`` after the last picture of a file, ``failed`` when trying again is no
            use, ``closed`` by the application.
        since: Time when that state began.
        error: What went wrong last, without passwords; None if nothing did.
        code: What the camera answered last instead of pictures, as HTTP and RTSP count: 401 for a
            wrong password, 404 for a path that it has not. None if it gives pictures, or answered
            nothing.
    """

    state: State
    since: Instant
    error: str | None = None
    code: int | None = None

    @property
    def final(self) -> bool:
        """Whether no more pictures will come."""
        return self.state in _FINAL


@dataclass(frozen=True, slots=True)
class Counters:
    """What a camera has counted since it was opened.

    Attributes:
        frames: Pictures that came, those dropped included.
        drops: Pictures that came and were never handed out, since newer ones were there.
        reconnections: Outages that ended with a new picture.
        bad_frames: Pictures that came damaged and were thrown away.
        repeats: Times that the source gave a picture again instead of a new one.
        freezes: Times that a camera froze: it sent nothing but one picture for a while.
        size_changes: Times that a picture was of another size than the one before.
        abandoned: Number of reads that hung, and were left behind.
        lost_s: Seconds without pictures in all outages, the present one included, each counted
            from its last picture before to the first one after.
    """

    frames: int = 0
    drops: int = 0
    reconnections: int = 0
    bad_frames: int = 0
    repeats: int = 0
    freezes: int = 0
    size_changes: int = 0
    abandoned: int = 0
    lost_s: float = 0.0


class Journal:
    """Keeps one camera's state and counters; any thread may write and read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._status = Status("connecting", clock.now())
        self._counters = Counters()
        self._last_frame_s = 0.0
        self._seen = False

    @property
    def status(self) -> Status:
        """The state now."""
        with self._lock:
            return self._status

    @property
    def seen(self) -> bool:
        """Whether a picture was ever there."""
        with self._lock:
            return self._seen

    @property
    def counters(self) -> Counters:
        """The counts up to now."""
        with self._lock:
            if self._status.state != "reconnecting":
                return self._counters
            lost = self._counters.lost_s + self._since_last_frame_s()
            return replace(self._counters, lost_s=lost)

    def add(self, **counts: int) -> None:
        """Add to counters by their names."""
        with self._lock:
            self._add(**counts)

    def frame(self, skipped: int) -> int:
        """Enter a new picture and those passed over before it; give the picture's number."""
        with self._lock:
            if self._status.state == "reconnecting":
                lost = self._counters.lost_s + self._since_last_frame_s()
                self._counters = replace(self._counters, lost_s=lost)
                self._add(reconnections=1)
            self._seen = True
            self._become("connected")
            self._status = replace(self._status, code=None)
            self._add(frames=1 + skipped, drops=skipped)
            self._last_frame_s = self._clock.monotonic_s()
            return self._counters.frames - 1

    def freeze(self, error: str) -> bool:
        """Enter that nothing but one picture has come for a while; give whether that is new."""
        with self._lock:
            if self._status.state != "connected":
                return False
            self._status = replace(self._status, error=error)
            self._become("frozen")
            self._add(freezes=1)
            return True

    def lost(self, error: str, code: int | None = None) -> None:
        """Enter that a connection is gone, or was not made; with what was answered instead."""
        with self._lock:
            self._status = replace(self._status, error=error, code=code)
            self._become("reconnecting" if self._seen else "connecting")

    def finish(self, state: State, error: str | None = None, code: int | None = None) -> None:
        """Enter a final state; the first one stays."""
        with self._lock:
            if self._status.final:
                return
            if self._status.state == "reconnecting":
                lost = self._counters.lost_s + self._since_last_frame_s()
                self._counters = replace(self._counters, lost_s=lost)
            error, code = error or self._status.error, code or self._status.code
            self._status = replace(self._status, error=error, code=code)
            self._become(state)

    def _become(self, state: State) -> None:
        if state != self._status.state and not self._status.final:
            self._status = replace(self._status, state=state, since=self._clock.now())

    def _add(self, **counts: int) -> None:
        new = {name: getattr(self._counters, name) + count for name, count in counts.items()}
        self._counters = replace(self._counters, **new)

    def _since_last_frame_s(self) -> float:
        return self._clock.monotonic_s() - self._last_frame_s
