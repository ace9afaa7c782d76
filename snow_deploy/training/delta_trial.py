"""Whether a delta beats a readout by more than chance, on pictures that neither has seen.

Both learn from the same part of the training pictures, and answer the rest.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_deploy.data.pictures import MultiLabelPictures
from snow_deploy.errors import StoreError
from snow_deploy.training.answers import read_answers
from snow_deploy.training.lead import Lead, lead_of
from snow_deploy.training.multilabel_answers import MultiLabelAnswers, read_label_answers
from snow_deploy.training.run import train_task
from snow_deploy.training.store import Store
from snow_runtime.paired_tests import mcnemar

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Splits
    from snow_deploy.training.answers import Answers
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.run import RunSettings

LEVEL: Final = 0.05
"""A difference is beyond chance where it would be as rare as this without one."""


class BorrowingStore(Store):
    """A store of its own that reads another one's source, and what that says of pictures."""

    def __init__(self, root: str | Path, owner: Store) -> None:
        """Name the folder, and the store whose source it is."""
        super().__init__(root)
        self._owner = owner

    @property
    def source_path(self) -> Path:
        """Where the source lies: in the other store."""
        return self._owner.source_path

    @property
    def features_path(self) -> Path:
        """Where the source's features lie: in the other store, which may have them already."""
        return self._owner.features_path


@dataclass(frozen=True)
class Comparison:
    """A delta and a readout on pictures that neither has seen.

    A picture is won where the delta answers more of its labels rightly; of a task of one class a
    picture, where it alone is right.

    Attributes:
        readout: The readout's accuracy, 0 to 1.
        delta: The delta's.
        won: Number of pictures on which the delta is better.
        lost: Number on which the readout is.
        lead: The delta's lead, (won - lost) / pictures, with an interval of 95 %.
        p: The p-value of McNemar's exact test.
    """

    readout: float
    delta: float
    won: int
    lost: int
    lead: Lead
    p: float

    @property
    def is_gain(self) -> bool:
        """Whether the delta is better by more than chance; interval and test have to agree."""
        return self.lead.low > 0 and self.p < LEVEL


def fewest_to_gain() -> int:
    """Return how many pictures have to be won, and none lost, for a gain beyond chance."""
    return next(count for count in range(1, 100) if mcnemar(0, count) < LEVEL)


def wrong_answers(answers: Answers | MultiLabelAnswers) -> NDArray[np.int64]:
    """Count, of each picture [M], the labels that are answered wrongly."""
    wrong = ~answers.right()
    found: NDArray[np.int64] = wrong.reshape(len(wrong), -1).sum(1)
    return found


def compare(readout: Answers | MultiLabelAnswers, delta: Answers | MultiLabelAnswers) -> Comparison:
    """Compare two networks picture by picture, on those that both answered."""
    _, mine, theirs = np.intersect1d(readout.index, delta.index, return_indices=True)
    before, now = wrong_answers(readout)[mine], wrong_answers(delta)[theirs]
    won, lost = int((now < before).sum()), int((now > before).sum())
    lead = lead_of(len(mine), won, lost)
    return Comparison(readout.accuracy(), delta.accuracy(), won, lost, lead, mcnemar(lost, won))


def try_delta(
    store: Store, name: str, held: Splits, options: TrainOptions, settings: RunSettings
) -> tuple[Answers | MultiLabelAnswers, float]:
    """Train a delta that is thrown away; return its answers to the held-out part, and the seconds.

    Args:
        store: Store that holds the source; a folder in it is used and removed.
        name: Name of the task.
        held: Training pictures, of which a part is held out as `val`.
        options: How it is trained.
        settings: Settings of the run.

    Raises:
        DivergedError: Its loss or weights stopped being finite.
        KeyboardInterrupt: Interrupted.
        SnowError: As for `train_task`.
    """
    plain = replace(settings, resume=False, overwrite=False, baseline=False)
    began = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="trial-", dir=store.root) as folder:
            scratch = BorrowingStore(folder, store)
            train_task(scratch, name, held, options, plain)
            took_s = time.perf_counter() - began
            return _answers(scratch.run_path(name), held), took_s
    except KeyboardInterrupt as stopped:
        advice = "interrupted in the trial, and nothing was stored; the same command begins again"
        raise KeyboardInterrupt(advice) from stopped


def _answers(folder: Path, held: Splits) -> Answers | MultiLabelAnswers:
    if isinstance(held.final[1], MultiLabelPictures):
        return read_label_answers(folder)
    found = read_answers(folder)
    if found is None:
        msg = f"the trial's answers in {folder} cannot be read; begin again"
        raise StoreError(msg)
    return found
