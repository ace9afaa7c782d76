"""`train --scheme auto`: each task by itself, and what it says on the way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snow_deploy.cli.train_form import TrainForm
    from snow_deploy.training.outcome import TrainingOutcome
    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_requests import TaskRequest


def refuse_sweeps(variants: Sequence[TrainForm], sweeps: Sequence[str]) -> TrainForm | None:
    """Return the form of a choice between schemes; None where there is nothing to choose.

    Raises:
        click.UsageError: A choice is among what is swept, or is to be made for each value.
    """
    auto = [each for each in variants if each.scheme == "auto"]
    if auto and sweeps:
        msg = (
            "--scheme auto chooses between two networks and takes no --sweep. Give it without; or "
            "sweep with --scheme snow, or over schemes such as --sweep scheme=readout,snow."
        )
        raise click.UsageError(msg)
    return auto[0] if auto else None


def train_auto(
    store: Store, requests: Sequence[TaskRequest], form: TrainForm, settings: RunSettings
) -> Iterator[TrainingOutcome]:
    """Choose a scheme for each task, train it, and yield what came of it.

    Args:
        store: Store that holds a source.
        requests: The tasks, with their deltas' options.
        form: The command's options.
        settings: Settings of the runs.

    Raises:
        SnowError: As for `train_chosen`; the tasks before are stored.
    """
    from snow_deploy.cli.progress import progress_bar
    from snow_deploy.training.choose_scheme import SchemeRequest, train_chosen

    for each in requests:
        wanted = SchemeRequest(
            each.name, each.splits, form.readout_options(), each.options, form.delta
        )
        yield train_chosen(store, wanted, settings, partial(_say, each.name), progress_bar)


def _say(task: str, line: str) -> None:
    click.echo(f"task {task}: {line}")
