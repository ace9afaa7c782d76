"""Which frames are worth a label.

A random share of all frames, whatever was answered, so that accuracy can be measured honestly; and
frames that teach: where a state changed, the answer was unknown or near a threshold, or the picture
is unlike those kept.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from snow_runtime.collection.hourly_budget import HourlyBudget
from snow_runtime.collection.novelty import Novelty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.collection.options import CollectionOptions
    from snow_runtime.collection.records import Reason
    from snow_runtime.results import TaskResult

_NEAR: Final = 0.2  # of the two most probable labels, or of yes and no
_LOOK_S: Final = 0.2  # scenes change more slowly than frames come
_MOST: Final = 1e6
_RANDOM_BURST: Final = 1 / 60  # a minute's worth: the sample is even over time
_OTHER_BURST: Final = 1 / 4


@dataclass(frozen=True, eq=False)
class Sighting:
    """What was seen of a view in one frame.

    Attributes:
        camera: Name of the camera.
        view: Name of the view, "" for the whole picture.
        taken_at: Time when it was captured, in seconds since 1970 (UTC).
        results: What was answered, by question or task.
        features: The source's features, float32 `[F]`.
        changed: Whether a state changed by it.
    """

    camera: str
    view: str
    taken_at: float
    results: Mapping[str, TaskResult]
    features: NDArray[np.float32]
    changed: bool = False


class Pick(NamedTuple):
    """Why a picture is kept, and how unlike those kept before it is; 1 is usual."""

    reason: Reason
    novelty: float


@dataclass
class _ViewState:
    random: HourlyBudget
    other: HourlyBudget
    novelty: Novelty = field(default_factory=Novelty)
    looked_s: float = -math.inf


class Selector:
    """Chooses among sightings; one thread asks it.

    A frame costs less than a microsecond while the budget of its view is used up, else a few;
    one in doubt, and one in 0.2 s otherwise, a fraction of a millisecond.

    Args:
        options: How many are wanted.
        draw: Function that draws from [0, 1).
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        options: CollectionOptions,
        draw: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._draw = random.Random().random if draw is None else draw
        self._clock = clock
        self._views: dict[tuple[str, str], _ViewState] = {}

    def remember(self, camera: str, view: str, features: NDArray[np.floating[Any]]) -> None:
        """Take note of a picture that was kept before, by its features `[F]`."""
        self._view(camera, view).novelty.keep(features)

    def spent(
        self, camera: str, view: str, random_ages_s: Iterable[float], other_ages_s: Iterable[float]
    ) -> None:
        """Take note of what of the hour's budget went before; nothing was chosen yet.

        Args:
            camera: Name of the camera.
            view: Name of the view.
            random_ages_s: How long ago each random picture was kept, in seconds.
            other_ages_s: How long ago each other picture was kept, in seconds.
        """
        found, now_s = self._view(camera, view), self._clock()
        found.random.replay(now_s, random_ages_s)
        found.other.replay(now_s, other_ages_s)

    def choose(self, seen: Sighting) -> Pick | None:
        """Say why a sighting is to be kept; None where it is not."""
        view = self._view(seen.camera, seen.view)
        now_s = self._clock()
        if self._draw() < self._options.random_share and view.random.has_one(now_s):
            view.random.take()
            return self._chosen(view, "random", seen, view.novelty.look(seen.features))
        if not view.other.has_one(now_s):
            return None
        reason: Reason | None = "changed" if seen.changed else _doubt(seen.results.values())
        if reason is None and now_s - view.looked_s < _LOOK_S:
            return None
        view.looked_s = now_s
        novelty = view.novelty.look(seen.features)
        if not seen.changed and novelty < 1:  # of many in doubt alike, those less like the rest
            reason = None
        if reason is None and view.novelty.unusual(novelty):
            reason = "unlike"
        if reason is None:
            return None
        view.other.take()
        return self._chosen(view, reason, seen, novelty)

    def _view(self, camera: str, view: str) -> _ViewState:
        found = self._views.get((camera, view))
        if found is None:
            half = self._options.hourly / 2
            found = _ViewState(HourlyBudget(half, _RANDOM_BURST), HourlyBudget(half, _OTHER_BURST))
            self._views[camera, view] = found
        return found

    @staticmethod
    def _chosen(view: _ViewState, reason: Reason, seen: Sighting, novelty: float) -> Pick:
        view.novelty.keep(seen.features)
        return Pick(reason, min(novelty, _MOST))


def _doubt(results: Iterable[TaskResult]) -> Reason | None:
    """Say what is doubtful about answers; None where nothing is."""
    near = False
    for result in results:
        if result.unknown:
            return "unknown"
        near = near or _is_near(result)
    return "unsure" if near else None


def _is_near(result: TaskResult) -> bool:
    """Tell whether an answer would easily be another one."""
    if result.answers == "several":  # between yes and no
        return result.certainty < (1 + _NEAR) / 2
    top = result.top(2)
    return len(top) > 1 and top[0][1] - top[1][1] < _NEAR
