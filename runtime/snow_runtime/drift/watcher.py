"""All questions of all cameras, watched for drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from snow_runtime.drift.event import DriftEvent
from snow_runtime.drift.exceedance import Bound
from snow_runtime.drift.watch import DriftOptions, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.drift.reference import Reference
    from snow_runtime.results import TaskResult

_FORGOTTEN_S: Final = 86_400.0


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
        self._seen: dict[tuple[str, str], float] = {}
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
            watch = self._watch((camera, name), reference, reference.bound, at)
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
        for name, result in results.items():
            entry = None if result.confidence is None else result.confidence.familiarity
            if entry is None or result.unlikeness is None or name in self._references:
                continue
            watch = self._watch((camera, name), entry, Bound(entry.held_out, entry.kept), at)
            if watch.see(result.unlikeness, at):
                self._untold.append(DriftEvent(camera, name, watch.now, at))
        found, self._untold = self._untold, []
        return tuple(found)

    def _watch(self, key: tuple[str, str], known: object, bound: Bound, at: float) -> Watch:
        """Give what watches a question, a new one where what is known of it is new.

        An alarm ends with what it was about.
        """
        self._seen[key] = at
        if self._known.get(key) is not known:
            self._known[key] = known
            before, watch = self._watches.get(key), Watch(bound, self._options)
            self._watches = {**self._watches, key: watch}
            if before is not None and before.now.drifted:
                self._untold.append(DriftEvent(*key, watch.now, at))
        return self._watches[key]

    def to_dict(self) -> list[dict[str, Any]]:
        """Return how each question stands, as plain JSON values.

        One that was not seen for a day, while others were, is left out: its camera is gone, or
        nobody asks it any more.
        """
        seen = dict(self._seen)
        latest = max(seen.values(), default=0.0)
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
            if seen[camera, name] >= latest - _FORGOTTEN_S
            for now in (watch.now,)
        ]
