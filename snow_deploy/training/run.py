"""One training run: a task's data in, a trained task in the store out."""

from __future__ import annotations

import json
import logging
import signal
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from snow_deploy.errors import TrainingError
from snow_deploy.models.delta import Delta
from snow_deploy.models.source import Source
from snow_deploy.training.curve import Curve
from snow_deploy.training.linear_probe import linear_probe_accuracy
from snow_deploy.training.measure import held_out_samples, measure
from snow_deploy.training.module import TaskModule
from snow_deploy.training.selections import SelectionHistory
from snow_deploy.training.store import TaskRecord
from snow_runtime.files import atomic_write
from snow_runtime.manifest import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_deploy.data.pictures import Splits
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.store import Store


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
        `images_per_s`, `skipped` and, with a baseline, `linear_accuracy`.

    Raises:
        StoreError: The store has no source, or the task is there already.
        TrainingError: Nothing to resume, or a resumed run with other options or labels.
    """
    weights = store.source_weights()
    source = Source(weights)
    preprocessing = Preprocessing.for_size(options.image_size, weights.mean, weights.std)
    folder = store.run_path(name)
    checkpoint = _prepare(store, name, splits, source, options, settings)
    lightning.seed_everything(options.seed, verbose=False)
    delta = Delta(source, len(splits.labels), options.delta)
    module = TaskModule(source, delta, splits, preprocessing, options, workers=settings.workers)
    if _compiles(settings):
        source.network.compile()
    curve = Curve(folder / "curve.csv", echo=not sys.stdout.isatty())
    with _quiet_lightning():
        trainer = _trainer(folder, curve, options)
        with _interruptible(trainer, name):
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    metrics = _measure(module, curve, splits, preprocessing, settings)
    record = TaskRecord(
        name=name,
        labels=splits.labels,
        state={key: value.detach().cpu().clone() for key, value in delta.state_dict().items()},
        source=source.fingerprint,
        preprocessing=preprocessing,
        options=options,
        samples=held_out_samples(splits.final[1], preprocessing),
        metrics=metrics,
    )
    if trainer.is_global_zero:
        store.save_task(record)
        (folder / "checkpoint.ckpt").unlink(missing_ok=True)
    return record


def _prepare(
    store: Store,
    name: str,
    splits: Splits,
    source: Source,
    options: TrainOptions,
    settings: RunSettings,
) -> Path | None:
    """Check what an earlier run left; return the checkpoint to resume from, if any."""
    folder = store.run_path(name)
    checkpoint, record = folder / "checkpoint.ckpt", folder / "run.json"
    if settings.resume and checkpoint.is_file() and record.is_file():
        _check_same_run(json.loads(record.read_text()), splits, source, options)
        return checkpoint
    if settings.resume:
        msg = f"there is no unfinished run of task {name!r} in {store.root}; leave --resume out"
        raise TrainingError(msg)
    if not settings.overwrite:
        _refuse_overwriting(store, name, checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (checkpoint, folder / "curve.csv", folder / "selections.npz"):
        stale.unlink(missing_ok=True)
    facts = {
        "options": options.to_dict(),
        "labels": splits.labels,
        "source": source.fingerprint,
    }
    with atomic_write(record, "w") as file:
        json.dump(facts, file, indent=1)
    return None


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


def _check_same_run(
    facts: dict[str, Any], splits: Splits, source: Source, options: TrainOptions
) -> None:
    """Refuse to resume with other labels, another source or other options."""
    if tuple(facts["labels"]) != splits.labels:
        only_then = sorted(set(facts["labels"]) - set(splits.labels))
        only_now = sorted(set(splits.labels) - set(facts["labels"]))
        msg = (
            "the data has other labels than the interrupted run: "
            f"gone {only_then or 'none'}, new {only_now or 'none'}. "
            "Resume with the data that the run began with, or start again with --overwrite."
        )
        raise TrainingError(msg)
    if facts["source"] != source.fingerprint:
        msg = (
            f"the interrupted run used the source {facts['source'][:12]}, the store now holds "
            f"{source.fingerprint[:12]}. Start again with --overwrite."
        )
        raise TrainingError(msg)
    changed = type(options).from_dict(facts["options"]).differences(options)
    if changed:
        msg = (
            f"the interrupted run had other options ({'; '.join(changed)}). Resume with the "
            "same ones, or start again with --overwrite."
        )
        raise TrainingError(msg)


def _trainer(folder: Path, curve: Curve, options: TrainOptions) -> lightning.Trainer:
    checkpoint = ModelCheckpoint(
        dirpath=folder,
        filename="checkpoint",
        save_top_k=1,
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    callbacks: list[lightning.Callback] = [curve, SelectionHistory(folder / "selections.npz")]
    interactive = sys.stdout.isatty()
    if interactive:
        callbacks.append(RichProgressBar(leave=True))
    return lightning.Trainer(
        max_epochs=options.epochs,
        precision=_lightning_precision(options.precision),
        callbacks=[*callbacks, checkpoint],
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        enable_progress_bar=interactive,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the loaders share the pictures out themselves
        log_every_n_steps=10,
    )


def _lightning_precision(precision: str) -> Any:
    if precision == "auto":
        has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if has_bf16 else "fp32"
    return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[precision]


def _compiles(settings: RunSettings) -> bool:
    if settings.compile_source is not None:
        return settings.compile_source
    return torch.cuda.is_available()


def _measure(
    module: TaskModule,
    curve: Curve,
    splits: Splits,
    preprocessing: Preprocessing,
    settings: RunSettings,
) -> dict[str, float]:
    """Measure the trained task on the final split, and the linear classifier beside it."""
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
            seed=module.options.seed,
            workers=settings.workers,
        )
    return metrics


@contextmanager
def _interruptible(trainer: lightning.Trainer, name: str) -> Iterator[None]:
    """Turn Lightning's exit on Ctrl-C into KeyboardInterrupt, and give the signal back."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:
        if trainer.interrupted:
            raise KeyboardInterrupt(
                f"interrupted; go on with: snow-deploy train --task {name} --resume …"
            ) from stopped
        raise
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Drop advice that does not apply here; real warnings still show."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for advice in (
            ".*does not have many workers.*",
            ".*Checkpoint directory.*exists and is not empty.*",
            ".*smaller than the logging interval.*",
            ".*TensorBoard.*",
            ".*Found .* module.* in eval mode.*",
            ".*LeafSpec.*is deprecated.*",  # Lightning's own use of torch
        ):
            warnings.filterwarnings("ignore", advice)
        yield
