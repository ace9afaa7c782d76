"""Counters and latencies of a running loop, and their Prometheus text."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, get_args

from snow_runtime.cameras.status import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_WINDOW: Final = 512
"""Percentiles are of so many latest frames at most,"""
_WINDOW_S: Final = 60.0
"""and of none that was answered longer ago than this."""
_RATE_S: Final = 10.0
"""Frames a second are counted over this long."""
_CAMERA: Final = (
    ("frames", "frames_total", "Frames that came."),
    ("drops", "drops_total", "Frames that gave way to newer ones."),
    ("reconnections", "reconnections_total", "Outages that ended."),
    ("bad_frames", "bad_frames_total", "Damaged frames."),
    ("repeats", "repeats_total", "Frames that came again instead of a new one."),
    ("freezes", "freezes_total", "Times that it sent one frame for ever."),
    ("size_changes", "size_changes_total", "Times that its frames changed their size."),
    ("abandoned", "abandoned_reads_total", "Reads that hung and were left behind."),
    ("lost_s", "lost_seconds_total", "Time without frames in all outages."),
    ("connected", "connected", "Whether new frames come."),
    ("code", "answer_code", "HTTP or RTSP status instead of frames, as 401 or 404; 0 for none."),
)
"""Of each camera: the counter, the metric's name and its help."""
_PREFIX: Final = "snow"


class Stats:
    """What a loop has done so far; any thread may add and look.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answered: deque[tuple[float, float, float]] = deque(maxlen=_WINDOW)
        self._times: deque[float] = deque()
        self._counts: Counter[str] = Counter()
        self._frames: Counter[str] = Counter()
        self._began = self._answered_at = clock()

    def begin(self) -> None:
        """Count time from now on; until then it is counted from when this was made."""
        with self._lock:
            self._began = self._answered_at = self._clock()

    def record_answered(self, camera: str, latency_ms: float, age_ms: float) -> None:
        """Count a frame that was answered."""
        now = self._clock()
        with self._lock:
            self._frames[camera] += 1
            self._answered.append((now, latency_ms, age_ms))
            self._answered_at = now
            self._times.append(now)
            self._forget(now)

    def count(self, what: str, number: int = 1) -> None:
        """Count something else, such as `errors` or `mqtt_lost`."""
        with self._lock:
            self._counts[what] += number

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
            }

    def _forget(self, now: float) -> None:
        while self._times and now - self._times[0] > _RATE_S:
            self._times.popleft()
        while self._answered and now - self._answered[0][0] > _WINDOW_S:
            self._answered.popleft()


def prometheus(stats: Mapping[str, Any], cameras: Mapping[str, Mapping[str, Any]]) -> str:
    """Write metrics as Prometheus reads them (text format 0.0.4).

    Args:
        stats: What :meth:`Stats.snapshot` gave.
        cameras: Table by camera name: its counters (`frames`, `drops`, `reconnections`,
            `bad_frames`, `repeats`, `freezes`, `abandoned`, `lost_s`), its `state`, `connected`, 0
            or 1, and `code`, what it answered instead of frames or None; those that are there.
    """
    return "\n".join([*_lines(stats, cameras), ""])


def _lines(stats: Mapping[str, Any], cameras: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from _metric("up_seconds", "gauge", "Since the loop began.", {"": stats["up_s"]})
    idle = {"": stats["idle_s"]}
    yield from _metric("idle_seconds", "gauge", "Since a frame was answered last.", idle)
    answered = {f'camera="{_escape(name)}"': count for name, count in stats["frames"].items()}
    yield from _metric("frames_answered_total", "counter", "Frames with answers.", answered)
    rate = {"": stats["frames_per_s"]}
    yield from _metric("frames_per_second", "gauge", "Over the last ten seconds.", rate)
    for name, title in (("latency_ms", "The model's time."), ("age_ms", "Age when answered.")):
        values = {f'quantile="{key}"': value for key, value in stats[name].items()}
        yield from _metric(name, "gauge", f"{title} Latest frames, milliseconds.", values)
    events = {f'what="{_escape(name)}"': count for name, count in stats["counts"].items()}
    yield from _metric("events_total", "counter", "What else has happened.", events)
    for key, name, title in _CAMERA:
        values = {
            f'camera="{_escape(camera)}"': row[key] or 0
            for camera, row in cameras.items()
            if key in row
        }
        kind = "counter" if name.endswith("_total") else "gauge"
        yield from _metric(f"camera_{name}", kind, f"Camera: {title}", values)
    states = {
        f'camera="{_escape(camera)}",state="{state}"': int(row["state"] == state)
        for camera, row in cameras.items()
        if "state" in row
        for state in get_args(State)
    }
    yield from _metric("camera_state", "gauge", "Camera: 1 for the state that it is in.", states)


def _metric(name: str, kind: str, help_text: str, values: Mapping[str, float]) -> Iterator[str]:
    if not values:
        return
    yield f"# HELP {_PREFIX}_{name} {help_text}"
    yield f"# TYPE {_PREFIX}_{name} {kind}"
    for labels, value in values.items():
        yield f"{_PREFIX}_{name}{'{' + labels + '}' if labels else ''} {_number(value)}"


def _number(value: float) -> str:
    """Write every digit: a counter that is rounded stands still, then jumps."""
    return str(value) if isinstance(value, int) else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _percentiles(ordered: list[float]) -> dict[str, float]:
    """Give the 50th, 90th and 99th percentile by nearest rank, ceil(q n); nothing of nothing."""
    if not ordered:
        return {}
    return {str(p / 100): ordered[-(-p * len(ordered) // 100) - 1] for p in (50, 90, 99)}
