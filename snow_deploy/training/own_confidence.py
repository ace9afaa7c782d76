"""How far a task of somebody's own loop can be trusted: its answers on validation pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_deploy.data.hold_out import part_of
from snow_deploy.training.measure import measure_together
from snow_runtime.confidence.find import HeldOutAnswers, find_confidence

if TYPE_CHECKING:
    from torch import Tensor

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.source import Source
    from snow_deploy.training.task_record import TaskRecord

_MOST_PICTURES: Final = 2000
"""More of them hardly move a temperature."""


def with_confidence(record: TaskRecord, source: Source, splits: Splits | None) -> TaskRecord:
    """Fit a task's temperature on the validation pictures that its final figures are not from.

    Args:
        record: The task.
        source: Its source.
        splits: Pictures that it was trained and measured on, if they are known.

    Returns:
        The task as it is where there are no such pictures, or too few.

    Raises:
        DataError: None of them can be read.
    """
    tuning = None if splits is None else splits.tuning
    if tuning is None:
        return record
    places = np.linspace(0, len(tuning) - 1, min(len(tuning), _MOST_PICTURES)).astype(int)
    device = next(source.network.parameters()).device
    network = record.build(source).to(device)

    def answer(images: Tensor) -> list[Tensor]:
        images = images.to(device)
        return [network(images, source.network(images))]

    # Loaded in this process: a script of somebody's own need not be one that can be begun twice.
    pictures = [part_of(tuning, places.tolist())]
    (measured,), _ = measure_together(answer, pictures, record.preprocessing, workers=0)
    if not measured.is_finite:
        return record
    held_out = HeldOutAnswers(measured.logits, measured.targets, "validation")
    return replace(record, confidence=find_confidence(held_out))
