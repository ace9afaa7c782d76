"""Training of whatever scheme: readouts are fitted, everything else is trained by steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.training import fit_readouts, run
from snow_deploy.training.outcome import TrainingOutcome

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
    if not fits:
        return run.train_tasks(store, others, settings)
    outcomes = [fit_readouts.fit_tasks(store, fits, settings, progress, alone=not others)]
    if others:
        outcomes.append(run.train_tasks(store, others, settings))
    asked = [request.name for request in requests]
    records = {record.name: record for outcome in outcomes for record in outcome.records}
    trained = {name for outcome in outcomes for name in outcome.trained_before}
    failures = {name: why for outcome in outcomes for name, why in outcome.failures.items()}
    return TrainingOutcome(
        tuple(records[name] for name in asked if name in records),
        tuple(name for name in asked if name in trained),
        failures,
    )
