"""One training run: a task's data in, a trained task in the store out."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from snow_deploy.errors import StoreError, TrainingError
from snow_deploy.models.schemes import build_network
from snow_deploy.models.schemes.lwf import LearningWithoutForgetting
from snow_deploy.models.schemes.whole import FineTuning
from snow_deploy.models.source import Source
from snow_deploy.models.trunk import bare_norms, unfold_norms
from snow_deploy.training.curve import Curve
from snow_deploy.training.linear_probe import fit_probe, linear_probe_accuracy
from snow_deploy.training.measure import held_out_samples, measure
from snow_deploy.training.module import TaskModule
from snow_deploy.training.options import TrainOptions
from snow_deploy.training.selections import SelectionHistory
from snow_deploy.training.store import TaskRecord
from snow_deploy.training.trainer import interruptible, make_trainer, quiet_lightning
from snow_runtime.files import atomic_write
from snow_runtime.manifest import Preprocessing
from snow_runtime.preprocessing import normalise

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.training.linear_probe import Probe
    from snow_deploy.training.store import Store


_UNFOLDED_ON = 64
"""Training pictures that a folded source's norms take their statistics from."""


@dataclass(frozen=True)
class RunSettings:
    """How a run is carried out; none of it changes the weights it ends with.

    Attributes:
        workers: Processes that load pictures.
        resume: Go on from the last checkpoint of an interrupted run.
        overwrite: Replace a task or an unfinished run of the same name.
        baseline: Also measure a linear classifier on the same frozen features.
        compile_source: Compile the source with torch.compile; None decides by the device.
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

    Args:
        store: Must hold a source.
        name: The task's name.
        splits: Its data.
        options: What decides the weights.
        settings: How to run.

    Returns:
        The task as stored, with `accuracy` and `loss` of the final split, `parameters`,
        `images_per_s`, `skipped` and, with a baseline, `linear_accuracy`. Among several
        processes the first one measures and stores; the others' record has no metrics.

    Raises:
        StoreError: The store has no source, or cannot be written.
        TrainingError: The task is there already, or there is nothing to resume, or a resumed
            run has other options, labels or another source.
        DataError: No picture could be read.
    """
    weights = store.source_weights()
    source = Source(weights)
    preprocessing = Preprocessing.for_size(options.image_size, weights.mean, weights.std)
    folder = store.run_path(name)
    facts = {
        "options": options.to_dict(),
        "labels": list(splits.labels),
        "source": source.fingerprint,
    }
    before = _task_before(store, options)
    if before is not None:
        facts["after"] = before.fingerprint()
    checkpoint = _prepare(store, name, facts, settings)
    lightning.seed_everything(options.seed, verbose=False)
    delta = _network(source, splits, preprocessing, options, before)
    module = TaskModule(source, delta, splits, preprocessing, options, workers=settings.workers)
    if _compiles(settings):
        source.network.compile()
    curve = Curve(folder / "curve.csv", echo=not sys.stdout.isatty())
    with quiet_lightning():
        trainer = make_trainer(
            options.epochs,
            _callbacks(folder, curve),
            precision=options.precision,
            logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        )
        probe = None
        if options.recipe.classifier_start == "linear" and checkpoint is None:
            module.to(trainer.strategy.root_device)
            probe = _fit(module, splits, settings)
            delta.start_classifier(probe.cautious)
        advice = f"interrupted; go on with: snow-deploy train --task {name} --resume …"
        with interruptible(trainer, advice):
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    module.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    first = trainer.is_global_zero
    metrics = _measure(module, curve, settings, probe) if first else {}
    record = _record(name, module, metrics, before)
    if first:
        store.save_task(record)
        (folder / "checkpoint.ckpt").unlink(missing_ok=True)
    return record


def _task_before(store: Store, options: TrainOptions) -> TaskRecord | None:
    """Read the task that a network goes on from, and check that it can.

    Raises:
        TrainingError: It is of another scheme or image size.
    """
    if options.after is None:
        return None
    before = store.load_task(options.after)
    same = before.options.scheme == options.scheme
    if not same or before.preprocessing.image_size != options.image_size:
        msg = (
            f"task {before.name!r} is of the scheme {before.options.scheme} at "
            f"{before.preprocessing.image_size} pixels, expected {options.scheme} at "
            f"{options.image_size}. Name another one with --after, or train it anew."
        )
        raise TrainingError(msg)
    return before


def _network(
    source: Source,
    splits: Splits,
    preprocessing: Preprocessing,
    options: TrainOptions,
    before: TaskRecord | None,
) -> TaskNetwork:
    """Build what is trained; it goes on from the task before, if there is one."""
    sizes = [len(labels) for labels in _older(before).values()]
    network = build_network(source, len(splits.labels), options, sizes)
    if before is not None and isinstance(network, LearningWithoutForgetting):
        network.follow(before.state)
    elif isinstance(network, FineTuning | LearningWithoutForgetting) and bare_norms(network):
        samples = held_out_samples(splits.train, preprocessing, _UNFOLDED_ON)
        planes = [normalise(sample, preprocessing) for sample in samples.numpy()]
        unfold_norms(network.network, torch.from_numpy(np.stack(planes)))
    return network


def _older(before: TaskRecord | None) -> dict[str, tuple[str, ...]]:
    """Return the labels of all tasks learned so far into the network of the task before."""
    return {} if before is None else {**before.older, before.name: before.labels}


def _prepare(store: Store, name: str, facts: dict[str, Any], settings: RunSettings) -> Path | None:
    """Check what an earlier run left; return the checkpoint to resume from, if any."""
    folder = store.run_path(name)
    checkpoint, record = folder / "checkpoint.ckpt", folder / "run.json"
    if settings.resume and checkpoint.is_file() and record.is_file():
        _check_same_run(_read_facts(record), facts)
        return checkpoint
    if settings.resume:
        msg = f"there is no unfinished run of task {name!r} in {store.root}; leave --resume out"
        raise TrainingError(msg)
    if not settings.overwrite:
        _refuse_overwriting(store, name, checkpoint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in (checkpoint, folder / "curve.csv", folder / "selections.npz"):
            stale.unlink(missing_ok=True)
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        with atomic_write(record, "w") as file:
            json.dump(facts, file, indent=1)
    except OSError as error:
        msg = f"{folder} cannot be written: {error}. Free space or access, or name another --store."
        raise StoreError(msg) from error
    return None


def _read_facts(record: Path) -> dict[str, Any]:
    """Read what `_prepare` wrote, the options checked."""
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        found = {key: facts[key] for key in ("labels", "source")} | {
            "options": TrainOptions.from_dict(facts["options"]).to_dict()
        }
        return found | {"after": facts.get("after")}
    except (ValueError, TypeError, KeyError, TrainingError) as error:
        msg = f"{record} cannot be read ({error}). Start again with --overwrite."
        raise TrainingError(msg) from error


def _refuse_overwriting(store: Store, name: str, checkpoint: Path) -> None:
    if name in store.tasks():
        msg = (
            f"{store.root} already has a task {name!r}. Give --overwrite to train it anew, "
            "or choose another --task name."
        )
        raise TrainingError(msg)
    if checkpoint.is_file():
        msg = (
            f"a run of task {name!r} in {store.root} was interrupted. Give --resume to go on "
            "with it, or --overwrite to start again."
        )
        raise TrainingError(msg)


def _check_same_run(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to resume with other labels, another source or other options."""
    if then["labels"] != now["labels"]:
        only_then = sorted(set(then["labels"]) - set(now["labels"]))
        only_now = sorted(set(now["labels"]) - set(then["labels"]))
        msg = (
            "the data has other labels than the interrupted run: "
            f"gone {only_then or 'none'}, new {only_now or 'none'}. "
            "Resume with the data that the run began with, or start again with --overwrite."
        )
        raise TrainingError(msg)
    if then["source"] != now["source"]:
        msg = (
            f"the interrupted run used the source {then['source'][:12]}, the store now holds "
            f"{now['source'][:12]}. Start again with --overwrite."
        )
        raise TrainingError(msg)
    if then["after"] != now.get("after"):
        msg = (
            "the task that the interrupted run goes on from was trained anew since. Start again "
            "with --overwrite."
        )
        raise TrainingError(msg)
    options = TrainOptions.from_dict(then["options"])
    changed = options.differences(TrainOptions.from_dict(now["options"]))
    if changed:
        msg = (
            f"the interrupted run had other options ({'; '.join(changed)}). Resume with the "
            "same ones, or start again with --overwrite."
        )
        raise TrainingError(msg)


def _callbacks(folder: Path, curve: Curve) -> list[lightning.Callback]:
    checkpoint = ModelCheckpoint(
        dirpath=folder,
        filename="checkpoint",
        save_top_k=1,
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    return [curve, SelectionHistory(folder / "selections.npz"), checkpoint]


def _record(
    name: str, module: TaskModule, metrics: dict[str, float], before: TaskRecord | None
) -> TaskRecord:
    """Put together what the store keeps of a trained task."""
    state = module.delta.state_dict()
    return TaskRecord(
        name=name,
        labels=module.splits.labels,
        state={key: value.detach().cpu().clone() for key, value in state.items()},
        source=module.source.fingerprint,
        preprocessing=module.preprocessing,
        options=module.options,
        samples=held_out_samples(module.splits.final[1], module.preprocessing),
        metrics=metrics,
        older=_older(before),
    )


def _compiles(settings: RunSettings) -> bool:
    if settings.compile_source is not None:
        return settings.compile_source
    return torch.cuda.is_available()


def _fit(module: TaskModule, splits: Splits, settings: RunSettings) -> Probe:
    return fit_probe(
        module.source,
        splits.train,
        len(splits.labels),
        module.preprocessing,
        seed=module.options.seed,
        workers=settings.workers,
    )


def _measure(
    module: TaskModule, curve: Curve, settings: RunSettings, probe: Probe | None
) -> dict[str, float]:
    """Measure the trained task on the final split, and the linear classifier beside it."""
    splits, preprocessing = module.splits, module.preprocessing
    loss, accuracy, unreadable = measure(
        module, splits.final[1], preprocessing, workers=settings.workers
    )
    metrics = {
        "accuracy": accuracy,
        "loss": loss,
        "parameters": float(module.delta.count_parameters()),
        "images_per_s": curve.rows[-1]["images_per_s"],
        "skipped": float(len(module.skipped | unreadable)),
    }
    if settings.baseline:
        metrics["linear_accuracy"] = linear_probe_accuracy(
            module.source,
            splits,
            preprocessing,
            classifier=None if probe is None else probe.best,
            seed=module.options.seed,
            workers=settings.workers,
        )
    return metrics
