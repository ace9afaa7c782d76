"""Which channels each subscription chose over training (the paper's Figure 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback

from snow_deploy.errors import StoreError
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.pytorch import Trainer
    from numpy.typing import NDArray

    from snow_deploy.training.learner import Learner

RECORDS_PER_EPOCH = 4


class SelectionHistory(Callback):
    """Records every subscription's selection some times an epoch, from the start on.

    The file is an .npz: `epoch` [R] float64, the moments; and for each subscription, by its
    name, [R, K] int32, ascending along K.
    """

    def __init__(self, path: Path, learner: Learner) -> None:
        """Name the .npz file and the task."""
        self.path = path
        self.learner = learner
        self.moments: list[float] = []
        self.records: list[dict[str, torch.Tensor]] = []

    @property
    def state_key(self) -> str:
        """The records' name in a checkpoint."""
        return self._generate_state_key(task=self.learner.name)

    def state_dict(self) -> dict[str, Any]:
        """Return the records so far."""
        return {"moments": self.moments, "records": self.records}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the records of the run that is resumed."""
        self.moments = list(state_dict["moments"])
        self.records = list(state_dict["records"])

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Record the first selection, before any step."""
        if not self.records:
            self._record(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Record after each quarter of an epoch, as near as its steps come; the last is one."""
        steps = int(trainer.num_training_batches)
        before, now = (place * RECORDS_PER_EPOCH // steps for place in (batch_idx, batch_idx + 1))
        if now > before:
            self._record(trainer, (batch_idx + 1) / steps)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Write the file."""
        if trainer.is_global_zero:
            advice = "Free space or access, then --resume."
            with writing(self.path, StoreError, advice), atomic_write(self.path) as file:
                np.savez_compressed(file, **self.history())  # type: ignore[arg-type]

    def history(self) -> dict[str, NDArray[Any]]:
        """Return what the file holds."""
        if not self.records:
            return {"epoch": np.zeros(0)}
        names = list(self.records[0])
        stacked = {n: torch.stack([record[n] for record in self.records]).numpy() for n in names}
        return {"epoch": np.array(self.moments), **stacked}

    def _record(self, trainer: Trainer, share: float = 0.0) -> None:
        if self.learner.failure is not None:
            return
        self.moments.append(trainer.current_epoch + share)
        selections = self.learner.network.selections()
        self.records.append(
            {name: torch.tensor(chosen, dtype=torch.int32) for name, chosen in selections.items()}
        )
