"""What a network answered to each picture where any number of labels may be right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from snow_deploy.errors import StoreError
from snow_deploy.training.answers import FILE
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class MultiLabelAnswers:
    """Answers to M pictures about C labels.

    Attributes:
        index: [M] int64, which picture of the split each is; unreadable ones are left out.
        present: [M, C] bool, which labels are right.
        logits: [M, C] float32, what was answered; a label is answered with yes from 0 on, where
            its probability is 0.5.
    """

    index: NDArray[np.int64]
    present: NDArray[np.bool_]
    logits: NDArray[np.float32]

    def right(self) -> NDArray[np.bool_]:
        """Tell of each picture and label, [M, C], whether the answer is right."""
        found: NDArray[np.bool_] = (self.logits >= 0) == self.present
        return found

    def accuracy(self) -> float:
        """Return the share of answers, one for each picture and label, that are right, 0 to 1."""
        return float(self.right().mean())

    def exact_match(self) -> float:
        """Return the share of pictures of which every label is answered rightly, 0 to 1."""
        return float(self.right().all(1).mean())

    def mean_average_precision(self) -> float | None:
        """Return the mean over the labels of their average precision, 0 to 1.

        It asks how well the pictures with a label are ranked before those without it, wherever the
        threshold is. A label that no picture has is left out; None where that is every one.
        """
        from torchmetrics.functional.classification import binary_average_precision

        known = np.flatnonzero(self.present.any(0))
        if len(known) == 0:
            return None
        values = [
            binary_average_precision(
                _ranks(self.logits[:, n]), torch.from_numpy(self.present[:, n].astype(np.int64))
            )
            for n in known
        ]
        return float(torch.stack(values).double().mean())

    def metrics(self) -> dict[str, float]:
        """Return `accuracy`, `exact_match` and, if it is defined, `mean_average_precision`."""
        found = {"accuracy": self.accuracy(), "exact_match": self.exact_match()}
        precision = self.mean_average_precision()
        return found if precision is None else {**found, "mean_average_precision": precision}

    def write(self, folder: Path) -> None:
        """Write them into a run's folder.

        Raises:
            StoreError: It cannot be written.
        """
        path = folder / FILE
        with writing(path, StoreError, "Free space or access, then go on with --resume."):
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                np.savez_compressed(
                    file, index=self.index, present=self.present, logits=self.logits
                )


def _ranks(logits: NDArray[np.float32]) -> torch.Tensor:
    """Return logits [M] as their places in order, 0 to 1, with equals at the same one.

    As probabilities, which torchmetrics asks for, large logits would become equals.
    """
    values, places = np.unique(logits, return_inverse=True)
    return torch.from_numpy(places.reshape(-1) / max(1, len(values) - 1))
