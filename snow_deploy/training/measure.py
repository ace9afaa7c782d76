"""The final measurement of a network on labelled pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snow_deploy.data.loading import make_loader
from snow_deploy.data.multilabel import multi_hot
from snow_deploy.data.pictures import MultiLabelPictures
from snow_deploy.errors import DataError
from snow_deploy.training.answers import RANKS, Answers
from snow_deploy.training.multilabel_answers import MultiLabelAnswers
from snow_deploy.training.objective import make_criterion
from snow_runtime.errors import InputError
from snow_runtime.pictures.preprocessing import resize_and_crop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Pictures
    from snow_runtime.graph.manifest import Preprocessing

SAMPLES = 5
"""Held-out pictures that travel with a task; not the batch that a graph is traced with."""


@dataclass(frozen=True)
class Measured:
    """What one network reaches on one set of labelled pictures.

    Attributes:
        loss: Mean cross-entropy; where any number of labels may be right, of each of them.
        answers: To each picture that could be read.
        logits: float32 [M, C], what was answered to those M pictures.
        targets: [M] int64, what is right; or [M, C] bool where any number of labels may be.
    """

    loss: float
    answers: Answers | MultiLabelAnswers
    logits: NDArray[np.float32] = field(repr=False)
    targets: NDArray[np.int64] | NDArray[np.bool_] = field(repr=False)

    @property
    def is_finite(self) -> bool:
        """Whether every answer is a number."""
        return bool(np.isfinite(self.logits).all())

    @property
    def accuracy(self) -> float:
        """The share of pictures whose class is the likeliest answer, 0 to 1.

        Where any number of labels may be right, the share of pictures and labels that are answered
        rightly at a probability of 0.5.
        """
        return self.answers.accuracy()

    @property
    def accuracy_top5(self) -> float | None:
        """The share of pictures whose class is among the five likeliest answers, 0 to 1.

        None where any number of labels may be right.
        """
        return self.metrics.get("accuracy_top5")

    @property
    def metrics(self) -> dict[str, float]:
        """All figures, such as `accuracy` and `loss`."""
        return {**self.answers.metrics(), "loss": self.loss}


def measure(
    network: nn.Module, pictures: Pictures, preprocessing: Preprocessing, *, workers: int = 2
) -> tuple[Measured, set[str]]:
    """Return what a network reaches, and the names of unreadable pictures.

    Args:
        network: [B, 3, S, S] float32 in, [B, classes] logits out; put into eval mode.
        pictures: What to measure on; each once, without augmentation.
        preprocessing: Preprocessing, as on the device.
        workers: Processes that load pictures.

    Raises:
        DataError: No picture could be read.
    """
    network.eval()
    device = next(network.parameters()).device

    def answer(images: Tensor) -> list[Tensor]:
        return [network(images.to(device))]

    (measured,), unreadable = measure_together(answer, [pictures], preprocessing, workers=workers)
    return measured, unreadable


@torch.no_grad()
def measure_together(
    answer: Callable[[Tensor], Sequence[Tensor]],
    labelled: Sequence[Pictures],
    preprocessing: Preprocessing,
    *,
    workers: int = 2,
) -> tuple[list[Measured], set[str]]:
    """Measure several tasks on the same pictures, which are loaded once.

    Args:
        answer: [B, 3, S, S] float32 on the CPU to the logits of each task, [B, classes].
        labelled: The pictures as each task labels them.
        preprocessing: Preprocessing, as on the device.
        workers: Processes that load pictures.

    Returns:
        What each task reaches; the names of unreadable pictures.

    Raises:
        DataError: No picture could be read.
    """
    pictures = labelled[0]
    loader = make_loader(
        pictures,
        preprocessing=preprocessing,
        train=False,
        augmentation="none",
        batch_size=64,
        seed=0,
        workers=workers,
    )
    tallies = [_tally(each) for each in labelled]
    unreadable = set[str]()
    for batch in loader:
        unreadable.update(batch.skipped)
        if len(batch.images) == 0:
            continue
        indices = batch.indices.tolist()
        for tally, logits in zip(tallies, answer(batch.images), strict=True):
            tally.note(indices, logits)
    if not tallies[0].index:
        msg = f"none of the {len(pictures)} pictures to measure on could be read; check the files"
        raise DataError(msg)
    return [tally.measured() for tally in tallies], unreadable


def measure_logits(pictures: Pictures, places: Sequence[int], logits: Tensor) -> Measured:
    """Measure logits [M, C] that are there already, of the pictures at these places."""
    tally = _tally(pictures)
    tally.note(list(places), logits)
    return tally.measured()


def _tally(pictures: Pictures) -> _Tally | _LabelTally:
    if isinstance(pictures, MultiLabelPictures):
        return _LabelTally(pictures)
    return _Tally(pictures)


class _Tally:
    """Answers of one task of classes, collected batch by batch."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self.index: list[int] = []
        self.targets: list[int] = []
        self.ranked: list[Tensor] = []
        self.logits: list[Tensor] = []
        self.loss = 0.0

    def note(self, indices: list[int], logits: Tensor) -> None:
        """Take a batch: [B, classes] logits of the pictures at these places."""
        wanted = [self.pictures.target(index) for index in indices]
        targets = torch.tensor(wanted, device=logits.device)
        scores = logits.float()
        self.loss += nn.functional.cross_entropy(scores, targets, reduction="sum").item()
        ranked = torch.sort(scores, dim=1, descending=True, stable=True).indices
        self.ranked.append(ranked[:, :RANKS].cpu())
        self.logits.append(scores.cpu())
        self.index += indices
        self.targets += wanted

    def measured(self) -> Measured:
        """Return what came together."""
        answers = Answers(
            np.array(self.index, dtype=np.int64),
            np.array(self.targets, dtype=np.int64),
            torch.cat(self.ranked).numpy(),
        )
        logits = torch.cat(self.logits).numpy()
        return Measured(self.loss / len(self.index), answers, logits, answers.target)


class _LabelTally:
    """Answers of one task of which any number of labels may be right, batch by batch."""

    def __init__(self, pictures: MultiLabelPictures) -> None:
        self.pictures = pictures
        self.index: list[int] = []
        self.logits: list[Tensor] = []

    def note(self, indices: list[int], logits: Tensor) -> None:
        """Take a batch: [B, labels] logits of the pictures at these places."""
        self.logits.append(logits.float().cpu())
        self.index += indices

    def measured(self) -> Measured:
        """Return what came together."""
        logits = torch.cat(self.logits)
        sets = [self.pictures.present(index) for index in self.index]
        present = multi_hot(sets, len(self.pictures.labels))
        loss = make_criterion("several")(logits.double(), torch.from_numpy(present).double())
        answers = MultiLabelAnswers(
            np.array(self.index, dtype=np.int64), present > 0, logits.numpy()
        )
        return Measured(float(loss), answers, answers.logits, answers.present)


def held_out_samples(
    pictures: Pictures, preprocessing: Preprocessing, count: int = SAMPLES
) -> Tensor:
    """Return evenly spaced readable pictures, resized and cropped: [M, S, S, 3] uint8.

    Args:
        pictures: Pictures: of each of `count` stretches of equal length the first readable one is
            taken.
        preprocessing: Preprocessing, as on the device.
        count: M; less where there are fewer pictures, or a whole stretch cannot be read.

    Raises:
        DataError: No picture could be read.
    """
    stretches = min(count, len(pictures))
    ends = [place * len(pictures) // stretches for place in range(stretches + 1)]
    samples: list[Tensor] = []
    for start, end in pairwise(ends):
        for index in range(start, end):
            try:
                cropped = resize_and_crop(pictures.load(index), preprocessing)
            except InputError:
                continue
            samples.append(torch.from_numpy(cropped.copy()))
            break
    if not samples:
        msg = f"none of the {len(pictures)} pictures to measure on could be read; check the files"
        raise DataError(msg)
    return torch.stack(samples)
