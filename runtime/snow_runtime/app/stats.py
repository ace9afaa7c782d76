"""Counters and latencies of a running loop, and their Prometheus text."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_WINDOW: Final = 512
"""So many latest latencies are kept for the percentiles."""
_RATE_S: Final = 10.0
"""Frames a second are counted over this long."""
_PREFIX: Final = "snow"


class Stats:
    """What a loop has done so far; any thread may add and look.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._latencies_ms: deque[float] = deque(maxlen=_WINDOW)
        self._ages_ms: deque[float] = deque(maxlen=_WINDOW)
        self._times: deque[float] = deque()
        self._counts: Counter[str] = Counter()
        self._frames: Counter[str] = Counter()
        self._began = clock()

    def saw(self, camera: str, latency_ms: float, age_ms: float) -> None:
        """Count a frame that was answered."""
        now = self._clock()
        with self._lock:
            self._frames[camera] += 1
            self._latencies_ms.append(latency_ms)
            self._ages_ms.append(age_ms)
            self._times.append(now)
            self._forget(now)

    def count(self, what: str, number: int = 1) -> None:
        """Count something else, such as `errors` or `mqtt_lost`."""
        with self._lock:
            self._counts[what] += number

    def snapshot(self) -> dict[str, Any]:
        """Return plain JSON values: counts, frames a second, percentiles in milliseconds."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            seconds = min(_RATE_S, max(now - self._began, 1e-9))
            latencies, ages = sorted(self._latencies_ms), sorted(self._ages_ms)
            return {
                "up_s": now - self._began,
                "frames": dict(self._frames),
                "frames_per_s": len(self._times) / seconds,
                "latency_ms": _percentiles(latencies),
                "age_ms": _percentiles(ages),
                "counts": dict(self._counts),
            }

    def _forget(self, now: float) -> None:
        while self._times and now - self._times[0] > _RATE_S:
            self._times.popleft()


def prometheus(stats: Mapping[str, Any], cameras: Mapping[str, Mapping[str, Any]]) -> str:
    """Write metrics as Prometheus reads them (text format 0.0.4).

    Args:
        stats: What :meth:`Stats.snapshot` gave.
        cameras: By camera name its counters (`frames`, `drops`, `reconnections`, `bad_frames`) and
            `connected`, 0 or 1.
    """
    return "\n".join([*_lines(stats, cameras), ""])


def _lines(stats: Mapping[str, Any], cameras: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from _metric("up_seconds", "gauge", "Since the loop began.", {"": stats["up_s"]})
    answered = {f'camera="{_escape(name)}"': count for name, count in stats["frames"].items()}
    yield from _metric("frames_answered_total", "counter", "Frames with answers.", answered)
    rate = {"": stats["frames_per_s"]}
    yield from _metric("frames_per_second", "gauge", "Over the last ten seconds.", rate)
    for name, title in (("latency_ms", "The model's time."), ("age_ms", "Age when answered.")):
        values = {f'quantile="{key}"': value for key, value in stats[name].items()}
        yield from _metric(name, "gauge", f"{title} Latest frames, milliseconds.", values)
    events = {f'what="{_escape(name)}"': count for name, count in stats["counts"].items()}
    yield from _metric("events_total", "counter", "What else has happened.", events)
    for key, kind in (
        ("frames", "counter"),
        ("drops", "counter"),
        ("reconnections", "counter"),
        ("bad_frames", "counter"),
        ("connected", "gauge"),
    ):
        values = {
            f'camera="{_escape(name)}"': row[key] for name, row in cameras.items() if key in row
        }
        title = f"camera_{key}_total" if kind == "counter" else f"camera_{key}"
        yield from _metric(title, kind, f"Camera: {key.replace('_', ' ')}.", values)


def _metric(name: str, kind: str, help_text: str, values: Mapping[str, float]) -> Iterator[str]:
    if not values:
        return
    yield f"# HELP {_PREFIX}_{name} {help_text}"
    yield f"# TYPE {_PREFIX}_{name} {kind}"
    for labels, value in values.items():
        yield f"{_PREFIX}_{name}{'{' + labels + '}' if labels else ''} {float(value):g}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _percentiles(ordered: list[float]) -> dict[str, float]:
    """Give the 50th, 90th and 99th percentile by nearest rank; nothing of nothing."""
    if not ordered:
        return {}
    last = len(ordered) - 1
    return {str(q): ordered[min(last, int(q * len(ordered)))] for q in (0.5, 0.9, 0.99)}
