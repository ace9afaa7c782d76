"""What `snow-deploy train` says of its tasks, before and after."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from snow_deploy.data.pictures import Splits
    from snow_deploy.training.outcome import TrainingOutcome
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_record import TaskRecord
    from snow_deploy.training.task_requests import TaskRequest

_FURTHER = {"exact_match": "all labels right", "mean_average_precision": "mAP"}
"""Figures of tasks of which any number of labels may be right, and what they are called."""


def announce(request: TaskRequest, *, chosen: bool) -> None:
    """Say what a task is going to be trained on.

    Args:
        request: The task.
        chosen: Whether its scheme is still to be chosen.
    """
    from snow_deploy.data.hold_out import keep_for_tuning
    from snow_deploy.training.fit_pictures import count_views

    splits, options = request.splits, request.options
    split, pictures = splits.final
    how = (
        f"{options.epochs} epochs, learning rate "
        f"{options.learning_rate(int(os.environ.get('WORLD_SIZE', '1'))):g}"
    )
    if options.scheme == "readout":
        views = count_views(options.readout, splits)
        how = f"a readout fitted on {views} view{'s' if views > 1 else ''} of each"
    elif chosen:
        how = f"a readout, or a delta of {how}"
    kept = keep_for_tuning(splits, 0 if chosen else options.hold_out, options.seed)
    held = len(splits.train) - len(kept.train)
    click.echo(
        f"task {request.name}: {_counted(splits)}, {len(kept.train)} train"
        + (f", {held} held-out" if held else "")
        + f" and {len(pictures)} {split} pictures, {how}"
    )


def _counted(splits: Splits) -> str:
    count = len(splits.labels)
    return f"{count} classes" if splits.answers == "one" else f"any of {count} labels"


def report(store: Store, outcome: TrainingOutcome, split: str) -> None:
    """Say what came of a training.

    Args:
        store: The store, which has the tasks by now.
        outcome: What came of it.
        split: Name of the pictures that accuracies are from.
    """
    for name in outcome.trained_before:
        click.echo(
            f"task {name}: skipped, it is in {store.root} already; --overwrite trains it anew"
        )
    from snow_deploy.training.reliability_plot import draw_new_reliability

    for record in outcome.records:
        for line in _reliability(record):
            click.echo(line)
        draw_new_reliability(store.run_path(record.name))
        metrics = record.metrics
        linear = metrics.get("linear_accuracy")
        others = [
            f", {title} {metrics[name]:.4f}" for name, title in _FURTHER.items() if name in metrics
        ]
        click.echo(
            f"task {record.name}: {split} accuracy {metrics['accuracy']:.4f}"
            + "".join(others)
            + ("" if linear is None else f", linear classifier {linear:.4f}")
            + _fitted(metrics)
            + f", {metrics['parameters'] / 1e6:.2f} M parameters -> {store.task_path(record.name)}"
        )
    skipped = max((record.metrics["skipped"] for record in outcome.records), default=0)
    if skipped:
        click.echo(f"{skipped:.0f} pictures could not be read", err=True)


def _reliability(record: TaskRecord) -> Iterator[str]:
    """Say how far a task's probabilities can be trusted."""
    metrics, found = record.metrics, record.confidence
    if found is None:
        yield (
            f"task {record.name}: no temperature, for want of held-out pictures; calibration error "
            f"{metrics['calibration_error']:.4f}, Brier score {metrics['brier']:.4f}"
        )
        return
    yield (
        f"task {record.name}: temperature {found.temperature:.3f} by {found.pictures} pictures "
        f"({found.held_out_from}), calibration error {metrics['calibration_error']:.4f} "
        f"({metrics['plain_calibration_error']:.4f} without it), Brier score "
        f"{metrics['brier']:.4f} ({metrics['plain_brier']:.4f})"
    )
    if found.least_probability:
        yield (
            f"task {record.name}: answers below {found.least_probability:.1%} are unsure; of the "
            f"others {found.right_share:.1%} are right"
        )


def _fitted(metrics: Mapping[str, float]) -> str:
    """Say how a readout was fitted; nothing of other networks."""
    if "fit_s" not in metrics:
        return ""
    return (
        f" (cross-validated {metrics['cross_validated_accuracy']:.4f} ± "
        f"{metrics['cross_validated_error']:.4f}), {metrics['features']:.0f} features, fitted in "
        f"{metrics['fit_s']:.1f} s"
    )
