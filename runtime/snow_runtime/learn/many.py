"""Many readouts from the same features: here, in several processes, or spread by Ray.

Each fit is the same computation wherever it runs, in one thread and from its seed, so that the
readouts are the same, bit for bit.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.errors import FitError, SnowError
from snow_runtime.learn.fit import fit_looked_at
from snow_runtime.learn.scored import ScoredFeatures, looked_at
from snow_runtime.readout.fit import FitOptions
from snow_runtime.score.import_score import import_score

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from snow_runtime.readout.file import ReadoutFile


@dataclass(frozen=True)
class LabelledTask:
    """A task to be fitted.

    Attributes:
        name: Name of the task.
        labels: What each picture shows, by its id.
        options: How it is fitted.
    """

    name: str
    labels: Mapping[str, str]
    options: FitOptions = field(default_factory=FitOptions)


@dataclass(frozen=True)
class FittedTask:
    """What came of a fit.

    Attributes:
        name: Name of the task.
        readout: The readout; None where none could be fitted.
        error: Why not.
        remarks: What a user should know of its pictures.
    """

    name: str
    readout: ReadoutFile | None
    error: str | None = None
    remarks: tuple[str, ...] = ()


def fit_task(scored: ScoredFeatures, task: LabelledTask) -> FittedTask:
    """Fit one readout; what cannot be fitted is told in what comes back."""
    try:
        seen = looked_at(scored, task.labels)
        return FittedTask(
            task.name, fit_looked_at(seen, task.name, task.options), None, seen.remarks
        )
    except SnowError as error:
        return FittedTask(task.name, None, str(error))


def fit_here(
    scored: ScoredFeatures, tasks: Sequence[LabelledTask], processes: int
) -> Iterator[FittedTask]:
    """Yield readouts as they are fitted, in this process or in several.

    Raises:
        FitError: A process has ended.
    """
    if processes == 1 or len(tasks) < 2:
        yield from (fit_task(scored, task) for task in tasks)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        np.save(path, scored.rows)
        light = replace(scored, rows=np.empty((0, len(scored.check)), np.float16))
        context = multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(
                min(processes, len(tasks)), context, _hold, (light, path)
            ) as pool:
                waiting = [pool.submit(_fit_held, task) for task in tasks]
                for done in as_completed(waiting):
                    yield done.result()
        except BrokenProcessPool as error:
            msg = (
                "A process that fits has ended, perhaps since memory ran out. Give fewer "
                "--processes; the readouts that are there stay."
            )
            raise FitError(msg) from error


def fit_on_ray(scored: ScoredFeatures, tasks: Sequence[LabelledTask]) -> Iterator[FittedTask]:
    """Yield readouts as Ray's workers have fitted them; the features are shared by all of them.

    Raises:
        FitError: Ray gave the work up.
    """
    ray: Any = import_score("ray")
    shared, rows = replace(scored, rows=np.empty((0, 0), np.float16)), ray.put(scored.rows)
    facts = ray.put(shared)
    fit = ray.remote(_fit_with_rows)
    waiting = [fit.remote(facts, rows, task) for task in tasks]
    try:
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
    except ray.exceptions.RayError as error:
        msg = f"Ray gave the work up: {str(error).strip().splitlines()[-1]} Run the command again."
        raise FitError(msg) from error


def _fit_with_rows(shared: ScoredFeatures, rows: Any, task: LabelledTask) -> FittedTask:
    return fit_task(replace(shared, rows=rows), task)


_held: list[ScoredFeatures] = []


def _hold(shared: ScoredFeatures, path: Path) -> None:
    """Open the features once in each process; the system shares their memory."""
    _held[:] = [replace(shared, rows=np.load(path, mmap_mode="r"))]


def _fit_held(task: LabelledTask) -> FittedTask:
    return fit_task(_held[0], task)
