"""The stages of a model's call, timed from outside: the model itself is the one that runs.

A model is made anew around its session, which notes when it begins and ends to run. What comes
before is preprocessing, what comes after is postprocessing, so the stages add up to the call.
"""

from __future__ import annotations

import math
import time
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch
    from snow_runtime.backends.session import Session

STAGES: Final = ("preprocess", "copy", "inference", "postprocess")


@runtime_checkable
class TellsCopy(Protocol):
    """A session that says how long its last run took to copy to the device and back.

    Attributes:
        copy_ms: Milliseconds, both ways together; None where it does not know.
    """

    copy_ms: float | None


class StageTimes(NamedTuple):
    """Milliseconds of one call.

    Attributes:
        preprocess: Time from pictures to a batch.
        copy: Time of the copies to the device and back; NaN where it is not known, and then within
            `inference`.
        inference: The session's run, its checks of the batch included.
        postprocess: Time from logits to results.
    """

    preprocess: float
    copy: float
    inference: float
    postprocess: float


class TimedSession:
    """A session that notes when its last run began and ended.

    Args:
        session: The one that runs.

    Attributes:
        began_s: What perf_counter said when the last run began.
        ended_s: The same clock when it ended.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.began_s = self.ended_s = math.nan

    @property
    def batch_size(self) -> int | None:
        """How many pictures every call must bring; None if any number will do."""
        return self._session.batch_size

    @property
    def copy_ms(self) -> float | None:
        """Milliseconds that the last run took for copies; None where the session does not tell."""
        return self._session.copy_ms if isinstance(self._session, TellsCopy) else None

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's execution providers at work; none for an engine."""
        return tuple(getattr(self._session, "providers", ()))

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """Run, and note the time."""
        self.began_s = time.perf_counter()
        logits = self._session.run(batch)
        self.ended_s = time.perf_counter()
        return logits

    def close(self) -> None:
        """Let go of the session's memory."""
        self._session.close()

    def stages(self, began_s: float, ended_s: float) -> StageTimes:
        """Split the call whose last run this was.

        Args:
            began_s: What perf_counter said when the call began.
            ended_s: The same clock when it ended.
        """
        run_ms = 1e3 * (self.ended_s - self.began_s)
        copy_ms = self.copy_ms
        known_ms = 0.0 if copy_ms is None else min(copy_ms, run_ms)
        return StageTimes(
            preprocess=1e3 * (self.began_s - began_s),
            copy=math.nan if copy_ms is None else known_ms,
            inference=run_ms - known_ms,
            postprocess=1e3 * (ended_s - self.ended_s),
        )


class LatencySamples:
    """The times of a contender's calls, by stage and round."""

    def __init__(self) -> None:
        self._values = array("d")
        self._ends: list[int] = []
        self.measured_s = 0.0

    def __len__(self) -> int:
        return len(self._values) // len(STAGES)

    @property
    def rounds(self) -> int:
        """How many rounds are closed."""
        return len(self._ends)

    def add(self, times: StageTimes) -> None:
        """Keep a call's times, all of them or, where Ctrl-C comes between, none."""
        self._values.extend(times)
        self.measured_s += 1e-3 * sum(value for value in times if not math.isnan(value))

    def end_round(self) -> None:
        """Close the round that the calls since the last one belong to."""
        self._ends.append(len(self))

    def times_ms(self, stage: str) -> NDArray[np.float64]:
        """Return milliseconds of every call, `[N]`: of a stage, or of all with `latency`."""
        table = np.array(self._values, np.float64).reshape(-1, len(STAGES))
        if stage == "latency":
            return np.asarray(np.nansum(table, axis=1), np.float64)
        return table[:, STAGES.index(stage)]

    def rounds_ms(self, stage: str) -> list[NDArray[np.float64]]:
        """Return the same by round; one that was cut short is left out."""
        return np.split(self.times_ms(stage), self._ends)[:-1]
