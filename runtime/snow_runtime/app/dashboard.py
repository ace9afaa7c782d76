"""What the page shows: the newest answers, the last minute of them, states, figures, switches."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from snow_runtime._version import __version__
from snow_runtime.app.prometheus import write_metrics
from snow_runtime.app.setup_now import SetupNow
from snow_runtime.app.states.event import states_to_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snow_runtime.app.answers import FrameAnswer
    from snow_runtime.app.latest_frames import LatestFrames
    from snow_runtime.app.stats import Stats

    Cameras = Callable[[], dict[str, dict[str, Any]]]
    Tasks = Callable[[], Sequence[str]]
    ViewTimes = dict[tuple[str, str], float]
    Setup = Callable[[], SetupNow]

_SAMPLE_S: Final = 0.5
_SAMPLES: Final = 120  # a minute
_RATE_LOOKS: Final = 26  # frames a second of a camera are counted over five seconds
_SHOWN: Final = (
    "state",
    "since_s",
    "error",
    "frames",
    "drops",
    "reconnections",
    "bad_frames",
    "connected",
)


class Dashboard:
    """Looks at the loop, and says what it saw as plain JSON values.

    Args:
        live: The newest answers.
        stats: Counts and latencies.
        cameras: Function that gives by camera its `state`, `since_s` (seconds in that state),
            `error`, `frames`, `drops`, `reconnections`, `bad_frames` and `connected`, and for
            `/metrics` also `repeats`, `abandoned` and `lost_s`.
        tasks: Function that gives the names of the model's tasks, which may change.
        clock: Monotonic time in seconds.
        hung_after_s: Longest time without an answer, while a camera gives frames or none has ever
            given one, before the model counts as hung.
        setup: Function that gives what is asked of the cameras; None shows each task at each
            camera.

    Attributes:
        live: The newest pictures and answers.
    """

    def __init__(
        self,
        live: LatestFrames,
        stats: Stats,
        cameras: Cameras,
        tasks: Tasks,
        clock: Callable[[], float] = time.monotonic,
        *,
        hung_after_s: float = 60.0,
        setup: Setup | None = None,
    ) -> None:
        self.live = live
        self._stats = stats
        self._cameras = cameras
        self._tasks = tasks
        self._clock = clock
        self._hung_after_s = hung_after_s
        self._setup = SetupNow if setup is None else setup
        self._sampled_at = float("-inf")
        self._figures = stats.snapshot()
        self._samples: dict[str, deque[FrameAnswer]] = {}
        self._counted: deque[tuple[float, dict[str, int]]] = deque(maxlen=_RATE_LOOKS)
        self._viewed: deque[tuple[float, ViewTimes]] = deque(maxlen=_RATE_LOOKS)

    def look(self) -> None:
        """Note what changes over time; to be called about five times a second."""
        now = self._clock()
        self._figures = self._stats.snapshot()
        self._counted.append((now, self._figures["frames"]))
        self._viewed.append((now, self._stats.view_ms()))
        if now - self._sampled_at < _SAMPLE_S:
            return
        self._sampled_at = now
        for camera, answer in self.live.newest().items():
            samples = self._samples.setdefault(camera, deque(maxlen=_SAMPLES))
            if not samples or samples[-1] is not answer:
                samples.append(answer)

    def state(self) -> dict[str, Any]:
        """Return what is so now; the figures are those of the last look."""
        cameras, newest, shares = self._cameras(), self.live.newest(), self._shares()
        states = self.live.changes.states
        return {
            "version": __version__,
            "time": round(time.time(), 3),
            "stats": self._figures,
            "tasks": [{"name": name, "on": name not in self.live.hidden} for name in self._tasks()],
            "cameras": [
                {
                    "name": name,
                    **{key: cameras[name][key] for key in _SHOWN if key in cameras.get(name, {})},
                    "frames_per_s": round(self._rate(name), 1),
                    "answer": _answered(newest.get(name)),
                    "states": states_to_dict(each for each in states if each.camera == name),
                    "shares": shares.get(name, {}),
                }
                for name in {**cameras, **newest}
            ],
        }

    def history(self) -> dict[str, list[tuple[float, dict[str, tuple[str, float]]]]]:
        """Return by camera the last minute, the oldest first: when, and by task what."""
        return {
            camera: [
                (
                    round(answer.taken_at, 3),
                    {
                        task: (said.text, round(said.probability, 3))
                        for task, said in answer.tasks.items()
                    },
                )
                for answer in samples
            ]
            for camera, samples in self._samples.items()
        }

    def setup(self) -> dict[str, Any]:
        """Return what is asked of the cameras."""
        return self._setup().to_dict()

    def changes(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the changes of states that are kept, in order, each with its `number`.

        Args:
            since: Those up to this number are left out.
        """
        return [
            {"number": number, **event.to_dict()}
            for number, event in self.live.changes.since(since)
        ]

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Write the counters for Prometheus; see :func:`write_metrics`."""
        return write_metrics(self._stats.snapshot(), self._cameras(), accept)

    def health(self) -> tuple[str, float]:
        """Tell what is wrong, "" for nothing, and the seconds since the last answer or the start.

        A camera that was there and is away is an outage: there is nothing to answer, and all is
        well. Where none has ever been there, an address is wrong or a cable out.
        """
        idle_s: float = self._stats.snapshot()["idle_s"]
        rows = list(self._cameras().values())
        connected = [row for row in rows if row.get("connected")]
        if rows and not connected and not any(row.get("frames") for row in rows):
            return "no camera has connected" if idle_s > self._hung_after_s else "", idle_s
        # A camera that has come back after an hour gets its time too.
        waited_s = min(idle_s, max((row.get("since_s", idle_s) for row in connected), default=0.0))
        return "no answers" if waited_s > self._hung_after_s else "", idle_s

    def switch(self, task: str, *, on: bool) -> bool:
        """Switch a task; return whether there is one of that name."""
        if task not in self._tasks():
            return False
        self.live.switch(task, on=on)
        return True

    def _rate(self, camera: str) -> float:
        if len(self._counted) < 2:
            return 0.0
        (began, before), (ended, after) = self._counted[0], self._counted[-1]
        return (after.get(camera, 0) - before.get(camera, 0)) / max(ended - began, 1e-9)

    def _shares(self) -> dict[str, dict[str, float]]:
        """Give by camera and view which share of the time the model was busy with it."""
        found: dict[str, dict[str, float]] = {}
        if len(self._viewed) < 2:
            return found
        (began, before), (ended, after) = self._viewed[0], self._viewed[-1]
        passed_ms = max(1000 * (ended - began), 1e-6)
        for (camera, view), spent_ms in after.items():
            share = (spent_ms - before.get((camera, view), 0.0)) / passed_ms
            found.setdefault(camera, {})[view] = round(share, 4)
        return found


def _answered(answer: FrameAnswer | None) -> dict[str, Any] | None:
    """Give an answer without its states, which are told beside it."""
    return None if answer is None else replace(answer, states=None).to_dict()
