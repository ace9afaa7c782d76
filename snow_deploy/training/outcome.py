"""What came of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.training.task_record import TaskRecord


@dataclass(frozen=True)
class TrainingOutcome:
    """What came of a run.

    Attributes:
        records: The tasks as stored, in the order in which they were asked for.
        trained_before: Names of those that the store had already.
        failures: Reasons why a task was given up, by its name; the others went on.
    """

    records: tuple[TaskRecord, ...]
    trained_before: tuple[str, ...]
    failures: Mapping[str, str]
