"""A running loop's counters as Prometheus reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from snow_runtime.cameras.status import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

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

_DRIFT: Final = (
    ("drifted", "Whether the frames have left what was trained on."),
    ("drift_share", "Share of the last hours' frames that are unlike those trained on."),
)
"""Of each question of a camera: the metric's name and its help."""


def write_metrics(
    stats: Mapping[str, Any], cameras: Mapping[str, Mapping[str, Any]], accept: str = ""
) -> tuple[bytes, str]:
    """Write metrics in the format that a client asks for; return them and their media type.

    Args:
        stats: What :meth:`~snow_runtime.app.stats.Stats.snapshot` gave.
        cameras: Table by camera name: its counters (`frames`, `drops`, `reconnections`,
            `bad_frames`, `repeats`, `freezes`, `abandoned`, `lost_s`), its `state`, `connected`, 0
            or 1, and `code`, what it answered instead of frames or None; those that are there.
        accept: The request's `Accept` header: OpenMetrics where it is named there, else
            Prometheus' text format 0.0.4.
    """
    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # it names a version that is none
        encode, media_type = choose_encoder("")
    return encode(_LoopCollector(stats, cameras)), media_type


@dataclass(frozen=True)
class _LoopCollector(Collector):
    stats: Mapping[str, Any]
    cameras: Mapping[str, Mapping[str, Any]]

    def collect(self) -> Iterator[Metric]:
        """Give the metrics that have a value."""
        return (metric for metric in self._metrics() if metric.samples)

    def _metrics(self) -> Iterator[Metric]:
        stats = self.stats
        yield _metric("up_seconds", "Since the loop began.", {(): stats["up_s"]})
        yield _metric("idle_seconds", "Since a frame was answered last.", {(): stats["idle_s"]})
        frames = _by_one(stats["frames"])
        yield _metric("frames_answered_total", "Frames with answers.", frames, "camera")
        rate: dict[tuple[str, ...], float] = {(): stats["frames_per_s"]}
        yield _metric("frames_per_second", "Over the last ten seconds.", rate)
        for name, title in (("latency_ms", "The model's time."), ("age_ms", "Age when answered.")):
            help_text = f"{title} Latest frames, milliseconds."
            yield _metric(name, help_text, _by_one(stats[name]), "quantile")
        yield _metric("events_total", "What else has happened.", _by_one(stats["counts"]), "what")
        for name, title in _DRIFT:
            key = name.removeprefix("drift_")
            drift: dict[tuple[str, ...], float] = {
                (row["camera"], row["question"]): float(row[key]) for row in stats.get("drift", ())
            }
            yield _metric(name, title, drift, "camera", "question")
        for key, name, title in _CAMERA:
            rows = {camera: row[key] or 0 for camera, row in self.cameras.items() if key in row}
            yield _metric(f"camera_{name}", f"Camera: {title}", _by_one(rows), "camera")
        states: dict[tuple[str, ...], float] = {
            (camera, state): row["state"] == state
            for camera, row in self.cameras.items()
            if "state" in row
            for state in get_args(State)
        }
        title = "Camera: 1 for the state that it is in."
        yield _metric("camera_state", title, states, "camera", "state")


def _by_one(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(label,): value for label, value in values.items()}


def _metric(name: str, help_text: str, values: Mapping[Any, float], *labels: str) -> Metric:
    """Make a counter, where the name says so, or a gauge; values by those of the labels."""
    family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    metric = family(f"snow_{name}", help_text, labels=labels)
    for key, value in values.items():
        metric.add_metric(key, value)
    return metric
