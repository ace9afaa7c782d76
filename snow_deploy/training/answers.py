"""What a network answered to each picture, so that networks can be compared picture by picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_deploy.errors import StoreError
from snow_deploy.training.npz_file import read_npz
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FILE: Final = "answers.npz"
"""In a task's run folder."""
RANKS: Final = 5
"""So many classes of each answer are kept, the likeliest first."""


@dataclass(frozen=True)
class Answers:
    """Answers to M pictures.

    Attributes:
        index: [M] int64, which picture of the split each is; unreadable ones are left out.
        target: [M] int64, its class.
        ranked: [M, R] int64, the R = min(5, classes) likeliest classes, the likeliest first.
    """

    index: NDArray[np.int64]
    target: NDArray[np.int64]
    ranked: NDArray[np.int64]

    def right(self, ranks: int = 1) -> NDArray[np.bool_]:
        """Tell of each picture, [M], whether its class is among the `ranks` likeliest."""
        found: NDArray[np.bool_] = (self.ranked[:, :ranks] == self.target[:, None]).any(1)
        return found

    def accuracy(self, ranks: int = 1) -> float:
        """Return the share of the pictures that are right, 0 to 1."""
        return int(self.right(ranks).sum()) / len(self.target)

    def metrics(self) -> dict[str, float]:
        """Return `accuracy` and `accuracy_top5`."""
        return {"accuracy": self.accuracy(), "accuracy_top5": self.accuracy(RANKS)}

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
                    file,
                    index=self.index,
                    target=self.target,
                    ranked=self.ranked,
                )


def read_answers(folder: Path) -> Answers | None:
    """Read what a run answered; None where it is from before that was kept, or not readable."""
    try:
        found = Answers(**read_npz(folder / FILE))
    except (OSError, ValueError, TypeError):
        return None
    return found if _is_whole(found) else None


def _is_whole(found: Answers) -> bool:
    arrays = (found.index, found.target, found.ranked)
    if [(array.ndim, array.dtype.kind) for array in arrays] != [(1, "i"), (1, "i"), (2, "i")]:
        return False
    return len(found.index) == len(found.target) == len(found.ranked) > 0
