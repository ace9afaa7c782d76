"""Which data is for which task of a graph."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from snow_calibration.errors import CalibrationError
from snow_deploy.data import open_data
from snow_deploy.errors import DataError
from snow_deploy.stages.provenance import trained_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_deploy.data.pictures import Splits
    from snow_runtime.graph.manifest import Manifest, TaskEntry

_LOGGER = logging.getLogger(__name__)


def data_of_tasks(
    specs: Sequence[str], manifest: Manifest, seed: int | None = None
) -> dict[str, Splits]:
    """Open data sets and find the task of each: `TASK=KIND:PATH`, or the one with its labels.

    The source's own head may have data and need not.

    Args:
        specs: The data sets.
        manifest: Manifest that has the tasks.
        seed: Seed that splits data that has no splits of its own; None for each task's own.

    Raises:
        CalibrationError: A task is unknown, has no data, or has two, or there is no task.
        DataError: A data set cannot be read, or has other labels than its task.
    """
    tasks = {task.name: task for task in manifest.tasks}
    needed = [task.name for task in manifest.tasks if task.sha256 is not None]
    if not needed:
        msg = "the graph has no task but the source's own head; export some with --tasks"
        raise CalibrationError(msg)
    found: dict[str, Splits] = {}
    for spec in specs:
        named, rest = _named(spec)
        if named is not None and named not in tasks:
            msg = f"the graph has no task {named!r}, expected one of {', '.join(tasks)}"
            raise CalibrationError(msg)
        candidates = [named] if named else needed
        seeds = [trained_seed(tasks[name]) for name in candidates] if seed is None else [seed]
        data, likely = _opened(rest, list(dict.fromkeys(seeds)))
        task = tasks[named or _task_with_labels(data, tasks, spec)]
        _check_fits(spec, data, task)
        if task.name in found:
            msg = f"task {task.name!r} has two --data; give one for each task"
            raise CalibrationError(msg)
        if seed is None and trained_seed(task) != likely:
            data = open_data(rest, seed=trained_seed(task))
        for remark in data.remarks:
            _LOGGER.warning("%s", remark)
        found[task.name] = data
    if missing := sorted(set(needed) - set(found)):
        msg = f"there is no --data for {', '.join(missing)}; every task is calibrated and judged"
        raise CalibrationError(msg)
    return found


def _check_fits(spec: str, data: Splits, task: TaskEntry) -> None:
    """Refuse data of other labels than its task's.

    Raises:
        DataError: It has others, or one class a picture instead of any number, or the other way.
    """
    if data.labels != task.labels:
        msg = (
            f"{spec} has {len(data.labels)} labels ({', '.join(data.labels[:3])} …), expected "
            f"the {len(task.labels)} that task {task.name!r} was trained with"
        )
        if sorted(data.labels) == sorted(task.labels):
            msg += f", in their order: {', '.join(task.labels)}"
        raise DataError(msg)
    if data.answers != task.answers:
        has = {"one": "one class", "several": "any number of labels"}
        msg = (
            f"the pictures of {spec} have {has[data.answers]} each, expected "
            f"{has[task.answers]} as task {task.name!r} was trained with. Give that data."
        )
        raise DataError(msg)


def _task_with_labels(data: Splits, tasks: Mapping[str, TaskEntry], spec: str) -> str:
    """Find the one task that has the labels of some data.

    Raises:
        CalibrationError: None has, or several have.
    """
    fitting = [name for name, task in tasks.items() if task.labels == data.labels]
    alike = [name for name in fitting if tasks[name].answers == data.answers]
    fitting = alike or fitting
    if len(fitting) != 1:
        fits = f"fits {' and '.join(fitting)}" if fitting else "has the labels of no task"
        first = next(task.name for task in tasks.values() if task.sha256 is not None)
        msg = f"{spec} {fits}; say which it is for, as in --data {first}={spec}"
        raise CalibrationError(msg)
    return fitting[0]


def _opened(spec: str, seeds: Sequence[int]) -> tuple[Splits, int]:
    """Open data with the first of some seeds that gives every class to every split.

    Raises:
        DataError: None does, or the data cannot be read.
    """
    *others, last = seeds
    for seed in others:
        with suppress(DataError):
            return open_data(spec, seed=seed), seed
    return open_data(spec, seed=last), last


def _named(spec: str) -> tuple[str | None, str]:
    """Split `TASK=KIND:PATH` into both; without a task, None and the whole."""
    name, equals, rest = spec.partition("=")
    return (name, rest) if equals and ":" not in name else (None, spec)
