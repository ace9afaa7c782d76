"""The curve of a run: one row per epoch, as a CSV file and as lines of text."""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from snow_deploy.errors import StoreError
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer

    from snow_deploy.training.learner import Learner


class Curve(Callback):
    """Collects each epoch's figures; the rows travel in the checkpoint, so a resume keeps them.

    Columns: epoch (from 1), loss, accuracy, <split>_loss, <split>_accuracy, lr (of the epoch's
    first step), images_per_s, seconds (of the epoch, evaluation included), skipped (unreadable
    pictures so far).
    """

    def __init__(self, path: Path, learner: Learner, *, echo: bool) -> None:
        """Name the CSV file and the task; `echo` prints a line per epoch (for logs and pipes)."""
        self.path = path
        self.learner = learner
        self.echo = echo
        self.rows: list[dict[str, float]] = []
        self._started = 0.0
        self._lr = 0.0

    @property
    def state_key(self) -> str:
        """The rows' name in a checkpoint."""
        return self._generate_state_key(task=self.learner.name)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the run that is resumed."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock, and note the learning rate before the schedule moves on."""
        self._started = time.perf_counter()
        self._lr = self.learner.rate

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the row, unless the task has failed; the evaluation of this epoch is done."""
        if self.learner.failure is not None:
            return
        prefix, split = self.learner.prefix, self.learner.split
        measured = {
            key.removeprefix(prefix): value for key, value in trainer.callback_metrics.items()
        }
        row = {
            "epoch": float(trainer.current_epoch + 1),
            "loss": _value(measured.get("loss_epoch")),
            "accuracy": _value(measured.get("accuracy")),
            f"{split}_loss": _value(measured.get(f"{split}_loss")),
            f"{split}_accuracy": _value(measured.get(f"{split}_accuracy")),
            "lr": self._lr,
            "images_per_s": _value(measured.get("images_per_s")),
            "seconds": time.perf_counter() - self._started,
            "skipped": float(len(pl_module.skipped)),
        }
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        advice = "Free space or access, then --resume."
        with writing(self.path, StoreError, advice), atomic_write(self.path, "w") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(
                {key: f"{value:.6g}" for key, value in row.items()} for row in self.rows
            )
        if self.echo:
            line = _line(row, split, trainer.max_epochs or 0)
            print(f"{self.learner.name}  {line}" if prefix else line, flush=True)  # noqa: T201 - the run's own log


def _value(metric: Any) -> float:
    return float("nan") if metric is None else float(metric)


def _line(row: dict[str, float], split: str, epochs: int) -> str:
    return (
        f"epoch {row['epoch']:.0f}/{epochs}  loss {row['loss']:.3f}  "
        f"accuracy {row['accuracy']:.3f}  {split} {row[f'{split}_accuracy']:.3f}  "
        f"{row['images_per_s']:.0f} images/s  {row['seconds']:.0f} s"
    )
