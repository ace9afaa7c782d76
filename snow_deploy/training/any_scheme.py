"""Training of whatever scheme: readouts are fitted, everything else is trained by steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.training.fit_readouts import fit_tasks
from snow_deploy.training.outcome import TrainingOutcome
from snow_deploy.training.run import train_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_requests import TaskRequest
    from snow_runtime.progress import ProgressCallback


def train_any(
    store: Store,
    requests: Sequence[TaskRequest],
    settings: RunSettings,
    progress: ProgressCallback | None = None,
) -> TrainingOutcome:
    """Fit the readouts among some tasks, then train the others together.

    Args:
        store: Store that holds a source.
        requests: The tasks, of the same pictures in the same order.
        settings: Settings of the run.
        progress: Callback for the pass over the pictures that readouts need.

    Returns:
        What came of it, in the order in which the tasks were asked for.

    Raises:
        SnowError: As for `fit_tasks` and `train_tasks`.
    """
    fits = [each for each in requests if each.options.scheme == "readout"]
    others = [each for each in requests if each.options.scheme != "readout"]
    outcomes = []
    if fits:
        outcomes.append(fit_tasks(store, fits, settings, progress))
    if others:
        outcomes.append(train_tasks(store, others, settings))
    place = {request.name: number for number, request in enumerate(requests)}
    records = [record for outcome in outcomes for record in outcome.records]
    trained = [name for outcome in outcomes for name in outcome.trained_before]
    failures = {name: why for outcome in outcomes for name, why in outcome.failures.items()}
    return TrainingOutcome(
        tuple(sorted(records, key=lambda record: place[record.name])),
        tuple(sorted(trained, key=lambda name: place[name])),
        failures,
    )
