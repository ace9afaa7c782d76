"""All questions of all cameras, watched for drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snow_runtime.drift.event import DriftEvent
from snow_runtime.drift.exceedance import Bound
from snow_runtime.drift.watch import DriftOptions, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.drift.reference import Reference
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
        self._references: dict[str, Reference] = {}  # exchanged as a whole
        self._untold: list[DriftEvent] = []

    def know(self, references: Mapping[str, Reference]) -> None:
        """Compare frames with the training pictures of some questions; any thread may say so.

        Args:
            references: Training pictures by question; the others go by their tasks' bounds.
        """
        self._references = dict(references)

    def look(
        self, camera: str, names: Iterable[str], features: NDArray[np.float32], at: float
    ) -> None:
        """Take a view's features; what that changes is returned by the next :meth:`see`.

        Args:
            camera: Name of the camera.
            names: Questions about the view.
            features: float32 `[F]`.
            at: When it was captured, in seconds since 1970 (UTC).
        """
        for name in names:
            reference = self._references.get(name)
            if reference is None:
                continue
            watch = self._watch(camera, name, reference, reference.bound)
            if watch.is_due(at) and watch.see(reference.unlikeness(features), at):
                self._untold.append(DriftEvent(camera, name, watch.now, at))

    def see(
        self, camera: str, results: Mapping[str, TaskResult], at: float
    ) -> tuple[DriftEvent, ...]:
        """Take a frame's answers; return what that changed.

        Args:
            camera: Name of the camera.
            results: Answers by question.
            at: When it was captured, in seconds since 1970 (UTC).
        """
        found, self._untold = self._untold, []
        for name, result in results.items():
            entry = None if result.confidence is None else result.confidence.familiarity
            if entry is None or result.unlikeness is None or name in self._references:
                continue
            watch = self._watch(camera, name, entry, Bound(entry.held_out, entry.kept))
            if watch.see(result.unlikeness, at):
                found.append(DriftEvent(camera, name, watch.now, at))
        return tuple(found)

    def _watch(self, camera: str, name: str, known: object, bound: Bound) -> Watch:
        """Give what watches a question, a new one where what is known of it is new."""
        key = camera, name
        if self._known.get(key) is not known:
            self._known[key] = known
            self._watches = {**self._watches, key: Watch(bound, self._options)}
        return self._watches[key]

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
