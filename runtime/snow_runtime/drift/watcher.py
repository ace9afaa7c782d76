"""All questions of all cameras, watched for drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snow_runtime.drift.event import DriftEvent
from snow_runtime.drift.watch import Bound, DriftOptions, Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_runtime.results import TaskResult


class DriftWatcher:
    """Watches what a loop answers; one thread tells it, any may look.

    A question whose task does not say what its training pictures look like is not watched. One
    that is fitted anew begins anew.

    Args:
        options: How drift is looked for; None for the usual.
    """

    def __init__(self, options: DriftOptions | None = None) -> None:
        self._options = options or DriftOptions()
        self._watches: dict[tuple[str, str], Watch] = {}  # exchanged as a whole
        self._known: dict[tuple[str, str], object] = {}

    def see(
        self, camera: str, results: Mapping[str, TaskResult], at: float
    ) -> tuple[DriftEvent, ...]:
        """Take a frame's answers; return what that changed.

        Args:
            camera: Name of the camera.
            results: Answers by question.
            at: When it was captured, in seconds since 1970 (UTC).
        """
        found = []
        for name, result in results.items():
            entry = None if result.confidence is None else result.confidence.familiarity
            if entry is None or result.unlikeness is None:
                continue
            key = camera, name
            if self._known.get(key) is not entry:
                self._known[key] = entry
                watch = Watch(Bound(entry.held_out, entry.kept), self._options)
                self._watches = {**self._watches, key: watch}
            watch = self._watches[key]
            if watch.see(result.unlikeness, at):
                found.append(DriftEvent(camera, name, watch.now, at))
        return tuple(found)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return how each question stands, as plain JSON values."""
        return [
            {
                "camera": camera,
                "question": name,
                "drifted": now.drifted,
                "strange": now.strange,
                "blocks": now.blocks,
                "share": round(now.share, 3),
                "since": now.since,
            }
            for (camera, name), watch in self._watches.items()
            for now in (watch.now,)
        ]
