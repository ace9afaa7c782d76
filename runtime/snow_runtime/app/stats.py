"""Counters and latencies of a running loop."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW: Final = 512
"""Percentiles are of so many latest frames at most,"""
_WINDOW_S: Final = 60.0
"""and of none that was answered longer ago than this."""
_RATE_S: Final = 10.0
"""Frames a second are counted over this long."""


class Stats:
    """What a loop has done so far; any thread may add and look.

    Args:
        clock: Monotonic time in seconds.

    Attributes:
        drift: Function that tells how each question stands; None where drift is not watched for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answered: deque[tuple[float, float, float]] = deque(maxlen=_WINDOW)
        self._times: deque[float] = deque()
        self._counts: Counter[str] = Counter()
        self._frames: Counter[str] = Counter()
        self._view_ms: dict[tuple[str, str], float] = {}
        self._latency_sum_ms = 0.0
        self._began = self._answered_at = clock()
        self.drift: Callable[[], list[dict[str, Any]]] | None = None

    def begin(self) -> None:
        """Count time from now on; until then it is counted from when this was made."""
        with self._lock:
            self._began = self._answered_at = self._clock()

    def record_answered(self, camera: str, latency_ms: float, age_ms: float) -> None:
        """Count a frame that was answered."""
        now = self._clock()
        with self._lock:
            self._frames[camera] += 1
            self._latency_sum_ms += latency_ms
            self._answered.append((now, latency_ms, age_ms))
            self._answered_at = now
            self._times.append(now)
            self._forget(now)

    def alive(self) -> None:
        """Note that nothing had to be asked: that is no pause."""
        with self._lock:
            self._answered_at = self._clock()

    def count(self, what: str, number: int = 1) -> None:
        """Count something else, such as `errors` or `mqtt_lost`."""
        with self._lock:
            self._counts[what] += number

    def record_view(self, camera: str, view: str, share_ms: float) -> None:
        """Count a picture of a view, and the model's time that it took."""
        with self._lock:
            self._counts[f"view {camera}/{view}"] += 1
            key = camera, view
            self._view_ms[key] = self._view_ms.get(key, 0.0) + share_ms

    def view_ms(self) -> dict[tuple[str, str], float]:
        """Return by camera and view how much of the model's time went into it so far."""
        with self._lock:
            return dict(self._view_ms)

    def snapshot(self) -> dict[str, Any]:
        """Return plain JSON values: counts, frames a second, percentiles in milliseconds.

        `idle_s` is how long ago the last frame was answered, or the loop began. The percentiles
        are of the latest frames, a minute back at most; of none they are empty.
        """
        now = self._clock()
        with self._lock:
            self._forget(now)
            seconds = min(_RATE_S, max(now - self._began, 1e-9))
            latencies, ages = (sorted(row[of] for row in self._answered) for of in (1, 2))
            return {
                "up_s": now - self._began,
                "idle_s": now - self._answered_at,
                "frames": dict(self._frames),
                "frames_per_s": len(self._times) / seconds,
                "latency_ms": _percentiles(latencies),
                "age_ms": _percentiles(ages),
                "counts": dict(self._counts),
                **({} if self.drift is None else {"drift": self.drift()}),
            }

    def totals(self) -> tuple[int, int, float]:
        """Return the frames answered, those failed on, and the sum of latencies in milliseconds."""
        with self._lock:
            return self._frames.total(), self._counts["errors"], self._latency_sum_ms

    def _forget(self, now: float) -> None:
        while self._times and now - self._times[0] > _RATE_S:
            self._times.popleft()
        while self._answered and now - self._answered[0][0] > _WINDOW_S:
            self._answered.popleft()


def _percentiles(ordered: list[float]) -> dict[str, float]:
    """Give the 50th, 90th and 99th percentile by nearest rank, ceil(q n); nothing of nothing."""
    if not ordered:
        return {}
    return {str(p / 100): ordered[-(-p * len(ordered) // 100) - 1] for p in (50, 90, 99)}
