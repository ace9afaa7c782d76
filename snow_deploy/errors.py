"""Errors of the training side.

SnowError                  (snow_runtime.errors; the command line catches this one)
└── SnowDeployError
    ├── ConfigError        a configuration file that is no such file
    ├── SourceError        weights or an architecture that cannot serve as a source
    ├── DataError          a data set that cannot be read, split or trained on
    ├── StoreError         a store that is missing, damaged or belongs to another source
    ├── PlanError          tasks that cannot be planned, or a budget that nothing meets
    └── TrainingError      options that contradict each other, runs that come to nothing
        ├── ResumeError    an interrupted run that cannot be gone on with
        │   └── DamagedCheckpointError  as its checkpoint is damaged
        └── DivergedError  every task's loss or weights have stopped being finite
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.errors import SnowError

if TYPE_CHECKING:
    from collections.abc import Mapping


class SnowDeployError(SnowError):
    """Base class of every error that snow_deploy raises on purpose."""


class ConfigError(SnowDeployError):
    """A configuration file that is no such file.

    Args:
        message: All faults in one line.
        faults: Texts of the faults, one for each.

    Attributes:
        faults: Texts of the faults, one for each.
    """

    def __init__(self, message: str, faults: tuple[str, ...]) -> None:
        super().__init__(message)
        self.faults = faults


class SourceError(SnowDeployError):
    """Weights or an architecture that cannot serve as a source."""


class DataError(SnowDeployError):
    """A data set that cannot be read, split or trained on."""


class StoreError(SnowDeployError):
    """A store that is missing, damaged, or that belongs to another source."""


class PlanError(SnowDeployError):
    """Tasks that cannot be planned for a device, or a budget that nothing meets."""


class TrainingError(SnowDeployError):
    """Options that contradict each other, or a run that came to nothing."""


class ResumeError(TrainingError):
    """What an interrupted run left behind cannot be gone on with."""


class DamagedCheckpointError(ResumeError):
    """A checkpoint that is there, can be read, and makes no sense."""


class DivergedError(TrainingError):
    """Every task of a run was given up.

    Attributes:
        failures: Reasons by the task's name.
    """

    def __init__(self, message: str, failures: Mapping[str, str]) -> None:
        """Take the message, and why each task was given up."""
        super().__init__(message)
        self.failures = dict(failures)
