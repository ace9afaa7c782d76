"""Errors of the training side.

SnowError                  (snow_runtime.errors; the command line catches this one)
└── SnowDeployError
    ├── SourceError        weights or an architecture that cannot serve as a source
    ├── DataError          a data set that cannot be read, split or trained on
    ├── StoreError         a store that is missing, damaged or belongs to another source
    └── TrainingError      options that contradict each other, a run that cannot be resumed
"""

from __future__ import annotations

from snow_runtime.errors import SnowError


class SnowDeployError(SnowError):
    """Base class of every error that snow_deploy raises on purpose."""


class SourceError(SnowDeployError):
    """Weights or an architecture that cannot serve as a source."""


class DataError(SnowDeployError):
    """A data set that cannot be read, split or trained on."""


class StoreError(SnowDeployError):
    """A store that is missing, damaged, or that belongs to another source."""


class TrainingError(SnowDeployError):
    """Options that contradict each other, or a run that cannot be resumed."""
