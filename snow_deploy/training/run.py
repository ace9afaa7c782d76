"""A training run: one or several tasks on the same pictures in, trained tasks in the store out."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from snow_deploy.data.hold_out import keep_for_tuning
from snow_deploy.data.workers import workers_watched
from snow_deploy.models.source import Source
from snow_deploy.models.source_checks import check_pictures
from snow_deploy.training.classifier_starts import start_linear, start_taps
from snow_deploy.training.curve import Curve
from snow_deploy.training.held_out_answers import find_confidences
from snow_deploy.training.learner import Learner
from snow_deploy.training.measure import held_out_samples, measure_together
from snow_deploy.training.module import TaskModule
from snow_deploy.training.outcome import TrainingOutcome
from snow_deploy.training.precision import autocast_dtype
from snow_deploy.training.probes import Probes
from snow_deploy.training.reliability_file import write_reliability
from snow_deploy.training.replicas import count_processes, others_watched
from snow_deploy.training.resume import ResumePlan, plan
from snow_deploy.training.run_facts import RunFacts
from snow_deploy.training.selections import SelectionHistory
from snow_deploy.training.starting import older_labels, start_network, task_before
from snow_deploy.training.task_lock import exclusive
from snow_deploy.training.task_record import TaskRecord
from snow_deploy.training.task_requests import TaskRequest, check_together
from snow_deploy.training.trainer import TaskLogger, interruptible, make_trainer, quiet_lightning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from snow_deploy.data.pictures import Splits
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.store import Store
    from snow_runtime.graph.confidence_entry import ConfidenceEntry
    from snow_runtime.graph.manifest import Preprocessing


@dataclass(frozen=True)
class RunSettings:
    """How a run is carried out; none of it changes the weights it ends with.

    Attributes:
        workers: Processes that load pictures.
        resume: Whether to go on from the last checkpoint of an interrupted run.
        overwrite: Whether to replace a task or an unfinished run of the same name.
        baseline: Whether to measure also a linear classifier on the same frozen features.
        compile_source: Whether to compile the source with torch.compile; None decides by the
            device.
    """

    workers: int = 2
    resume: bool = False
    overwrite: bool = False
    baseline: bool = True
    compile_source: bool | None = None


def train_task(
    store: Store, name: str, splits: Splits, options: TrainOptions, settings: RunSettings
) -> TaskRecord:
    """Train one task on the store's source and put it into the store.

    As `train_tasks` with one task, which is never skipped: where the store has it already, that
    is an error.
    """
    return train_tasks(store, [TaskRequest(name, splits, options)], settings).records[0]


def train_tasks(
    store: Store, requests: Sequence[TaskRequest], settings: RunSettings
) -> TrainingOutcome:
    """Train tasks on one pass of the store's source a batch, and put them into the store.

    Each ends with what a run of its own ends with. One whose loss or weights stop being finite is
    given up and not stored; the others go on.

    Args:
        store: Store that holds a source.
        requests: The tasks: the same pictures in the same order for all.
        settings: Settings of the run.

    Returns:
        The stored tasks, each with `accuracy`, `accuracy_top5` and `loss` of the final split,
        `parameters`, `images_per_s`, `skipped` and, with a baseline, `linear_accuracy`. Tasks of
        which any number of labels may be right have `exact_match` and, where it is defined,
        `mean_average_precision` in the place of `accuracy_top5`. Among several processes the first
        one measures and stores; the others' records have no metrics.

    Raises:
        StoreError: The store has no source, or cannot be written.
        SourceError: The source cannot read pictures of that size, or a task makes no sense on it.
        TrainingError: The tasks cannot be trained together, a single one is there already, or
            another process is training one of them.
        ResumeError: There is nothing to resume, or what was begun had other options, labels,
            pictures or another source.
        DivergedError: Every task was given up.
        DataError: No picture could be read, the tasks' pictures differ, or a process that loads
            pictures was killed or gave nothing for long.
    """
    check_together(requests)
    requests = _with_tuning_pictures(requests)
    with exclusive(store, [each.name for each in requests]), workers_watched():
        return _train_together(store, requests, settings)


def _with_tuning_pictures(requests: Sequence[TaskRequest]) -> list[TaskRequest]:
    """Keep pictures for tuning; tasks of the same data share what is made of it."""
    kept: dict[tuple[int, float, int], Splits] = {}
    found = []
    for each in requests:
        options = each.options
        key = id(each.splits), options.hold_out, options.seed
        if key not in kept:
            kept[key] = keep_for_tuning(each.splits, options.hold_out, options.seed)
        found.append(replace(each, splits=kept[key]))
    return found


def _train_together(
    store: Store, requests: Sequence[TaskRequest], settings: RunSettings
) -> TrainingOutcome:
    """Do what `train_tasks` says, while nobody else does."""
    weights = store.source_weights()
    source = Source(weights)
    options = requests[0].options
    check_pictures(source, options.image_size)
    before = {each.name: task_before(store, each.options) for each in requests}
    facts = {
        each.name: RunFacts(
            each.options,
            each.splits.labels,
            source.fingerprint,
            each.splits.fingerprint,
            None if (older := before[each.name]) is None else older.fingerprint(),
            count_processes(),
        )
        for each in requests
    }
    todo = plan(store, facts, resume=settings.resume, overwrite=settings.overwrite)
    if not todo.names:
        return TrainingOutcome((), todo.trained, {})
    preprocessing = weights.preprocessing(options.image_size, options.crop_share)
    learners = [
        _learner(source, each, preprocessing, before[each.name], alone=len(requests) == 1)
        for each in requests
        if each.name in todo.names
    ]
    module = TaskModule(source, learners, preprocessing, workers=settings.workers)
    probes = Probes(source, preprocessing, options.seed, settings.workers)
    curves, trainer = _fit(store, module, todo, probes, settings)
    module.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    first = trainer.is_global_zero
    metrics, trust = _measure(store, module, curves, probes, settings) if first else ({}, {})
    module.check_what_is_left()
    samples = held_out_samples(module.splits.final[1], preprocessing)
    records = []
    for learner in module.active:
        known = older_labels(before[learner.name])
        found = metrics.get(learner.name, {})
        record = _record(learner, module, found, samples, known)
        records.append(replace(record, confidence=trust.get(learner.name)))
        if first:
            store.save_task(records[-1])
    if first:
        todo.clear()
    failures = {each.name: each.failure for each in learners if each.failure is not None}
    return TrainingOutcome(tuple(records), todo.trained, failures)


def _learner(
    source: Source,
    request: TaskRequest,
    preprocessing: Preprocessing,
    before: TaskRecord | None,
    *,
    alone: bool,
) -> Learner:
    """Build what is trained, from the same seed whichever tasks are beside it."""
    lightning.seed_everything(request.options.seed, verbose=False)
    network = start_network(source, request, preprocessing, before)
    return Learner(request.name, network, request.splits, request.options, alone=alone)


def _fit(
    store: Store, module: TaskModule, todo: ResumePlan, probes: Probes, settings: RunSettings
) -> tuple[list[Curve], lightning.Trainer]:
    """Train, from the checkpoint if there is one."""
    compiled = _compiles(settings)
    learners, options = module.active, module.options
    folders = [store.run_path(learner.name) for learner in learners]
    echo = not sys.stdout.isatty()
    pairs = list(zip(folders, learners, strict=True))
    curves = [Curve(folder / "curve.csv", learner, echo=echo) for folder, learner in pairs]
    histories = [SelectionHistory(folder / "selections.npz", learner) for folder, learner in pairs]
    with quiet_lightning():
        trainer = make_trainer(
            options.epochs,
            [*curves, *histories, _checkpoints(todo)],
            precision=options.precision,
            loggers=[TaskLogger(folder, learner.prefix) for folder, learner in pairs],
        )
        module.to(trainer.strategy.root_device)
        if todo.checkpoint is None:
            start_taps(store, module.source, module.preprocessing, learners, settings.workers)
        if compiled:
            module.source.compile_parts()
        else:
            dtype = autocast_dtype(options.precision, trainer.strategy.root_device)
            module.source.pack(options.batch_size, options.image_size, dtype)
        if todo.checkpoint is None:
            start_linear(learners, probes)
        advice = "interrupted; go on with: the same command and --resume"
        if len(learners) == 1 and not learners[0].prefix:
            name = learners[0].name
            advice = f"interrupted; go on with: snow-deploy train --task {name} --resume …"
        resumed = todo.checkpoint is not None
        with interruptible(trainer, advice), others_watched(advice):
            trainer.fit(module, ckpt_path=todo.checkpoint, weights_only=True if resumed else None)
    return curves, trainer


def _checkpoints(todo: ResumePlan) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=todo.folder,
        filename="checkpoint",
        save_top_k=1,
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def _record(
    learner: Learner,
    module: TaskModule,
    metrics: dict[str, float],
    samples: Tensor,
    older: dict[str, tuple[str, ...]],
) -> TaskRecord:
    """Put together what the store keeps of a trained task."""
    state = learner.network.state_dict()
    return TaskRecord(
        name=learner.name,
        labels=learner.splits.labels,
        state={key: value.detach().cpu().clone() for key, value in state.items()},
        source_sha256=module.source.fingerprint,
        preprocessing=module.preprocessing,
        options=learner.options,
        samples=samples,
        metrics=metrics,
        previous_tasks=older,
        data_sha256=learner.splits.fingerprint,
        splits=learner.splits.entries,
        answers=learner.splits.answers,
    )


def _compiles(settings: RunSettings) -> bool:
    if settings.compile_source is not None:
        return settings.compile_source
    return torch.cuda.is_available()


def _measure(
    store: Store,
    module: TaskModule,
    curves: Sequence[Curve],
    probes: Probes,
    settings: RunSettings,
) -> tuple[dict[str, dict[str, float]], dict[str, ConfidenceEntry | None]]:
    """Measure the trained tasks on the final split, and the linear classifier beside them.

    Their temperatures and bounds are found first, on other pictures. One that does not answer every
    picture with finite numbers is given up. The others' answers are left in their runs' folders.
    """
    module.eval()
    found_out = find_confidences(store, module, workers=settings.workers)
    trust = {learner.name: each for learner, each in zip(module.active, found_out, strict=True)}
    labelled = [learner.splits.final[1] for learner in module.active]
    measured, unreadable = measure_together(
        lambda images: module(images.to(module.device)),
        labelled,
        module.preprocessing,
        workers=settings.workers,
    )
    metrics = {}
    speed = max(curve.rows[-1]["images_per_s"] for curve in curves if curve.rows)
    for learner, found in zip(module.active, measured, strict=True):
        if not math.isfinite(found.loss):
            learner.failure = f"its loss on the final pictures is {found.loss}"
            continue
        found.answers.write(store.run_path(learner.name))
        metrics[learner.name] = {
            **found.metrics,
            **write_reliability(store.run_path(learner.name), found, trust[learner.name]),
            "parameters": float(learner.network.count_parameters()),
            "images_per_s": speed,
            "skipped": float(len(module.skipped | unreadable)),
        }
        if settings.baseline:
            metrics[learner.name]["linear_accuracy"] = probes.accuracy(learner.splits)
    return metrics, trust
