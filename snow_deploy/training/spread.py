"""Tasks spread by Ray: each a run of its own, in a process and perhaps on a machine of its own.

A run of its own ends with the same weights wherever it runs, with as many threads. Those that train
together share the source's passes and end with the same but for rounding.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from snow_deploy.errors import TrainingError
from snow_deploy.training.fit_readouts import fit_tasks
from snow_deploy.training.outcome import TrainingOutcome
from snow_deploy.training.resume import is_unfinished, trained_already
from snow_deploy.training.run import RunSettings, train_task
from snow_deploy.training.run_facts import RunFacts
from snow_deploy.training.store import Store
from snow_runtime.errors import SnowError
from snow_runtime.score.import_score import import_score
from snow_runtime.score.on_ray import begin_ray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from snow_deploy.training.task_requests import TaskRequest


@dataclass(frozen=True)
class _Ended:
    """How a run ended.

    Attributes:
        name: Name of the task.
        error: Why it was not stored; None where it was.
    """

    name: str
    error: str | None


def train_spread(
    store: Store,
    requests: Sequence[TaskRequest],
    settings: RunSettings,
    address: str,
    told: Callable[[str], None] = lambda _: None,
) -> TrainingOutcome:
    """Train tasks by Ray, each in a run of its own; readouts are fitted here first.

    Args:
        store: Store that holds a source, on a disk that all machines see under the same path.
        requests: The tasks.
        settings: Settings of each run. With `resume`, runs that were begun are gone on with.
        address: Address of a Ray, or `local` for one that is started here.
        told: Callback that gets a line when a run has ended.

    Returns:
        What came of it, in the order in which the tasks were asked for.

    Raises:
        TrainingError: A task is there already and was trained otherwise, Ray gave the work up, or
            torchrun has started several processes.
        ScoreError: No Ray answers.
        SnowError: As for `fit_tasks`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        msg = "--ray starts the processes itself; start the command without torchrun."
        raise TrainingError(msg)
    fits = [each for each in requests if each.options.scheme == "readout"]
    stepped = [each for each in requests if each.options.scheme != "readout"]
    before = () if settings.overwrite else _there(store, stepped)
    failures, trained = dict[str, str](), list(before)
    if fits:
        fitted = fit_tasks(store, fits, settings, alone=False)
        failures |= fitted.failures
        trained += fitted.trained_before
    todo = [each for each in stepped if each.name not in before]
    for ended in _run(store, todo, settings, address) if todo else ():
        told(f"task {ended.name}: {'trained' if ended.error is None else ended.error}")
        if ended.error is not None:
            failures[ended.name] = ended.error
    done = [each.name for each in requests if each.name not in {*failures, *trained}]
    return TrainingOutcome(
        tuple(store.load_task(name) for name in done),
        tuple(each.name for each in requests if each.name in trained),
        failures,
    )


def _there(store: Store, requests: Sequence[TaskRequest]) -> tuple[str, ...]:
    """Name the tasks that the store has, having checked that they are what is asked for."""
    source = store.source_weights().fingerprint()
    return trained_already(
        store,
        {
            each.name: RunFacts(each.options, each.splits.labels, source, each.splits.fingerprint)
            for each in requests
        },
    )


def _run(
    store: Store, requests: Sequence[TaskRequest], settings: RunSettings, address: str
) -> Iterator[_Ended]:
    begin_ray(address)
    ray: Any = import_score("ray")
    there = ray.cluster_resources()
    threads = torch.get_num_threads()
    train = ray.remote(
        num_cpus=max(1, min(threads, int(there.get("CPU", 1)))),
        num_gpus=1 if there.get("GPU", 0) >= 1 else 0,
        max_retries=0,  # a run that is cut short is gone on with by --resume
    )(_train)
    root = str(store.root.absolute())
    waiting = {
        train.remote(root, each, _of_its_own(store, each, settings), threads): each.name
        for each in requests
    }
    while waiting:
        (done,), _ = ray.wait(list(waiting))
        name = waiting.pop(done)
        try:
            yield ray.get(done)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            yield _Ended(name, f"its process ended: {reason} Go on with --resume.")


def _of_its_own(store: Store, request: TaskRequest, settings: RunSettings) -> RunSettings:
    begun = is_unfinished(store, [request.name])
    return replace(settings, resume=settings.resume and begun)


def _train(root: str, request: TaskRequest, settings: RunSettings, threads: int) -> _Ended:
    torch.set_num_threads(threads)
    try:
        train_task(Store(Path(root)), request.name, request.splits, request.options, settings)
    except SnowError as error:
        return _Ended(request.name, str(error))
    return _Ended(request.name, None)
