"""What workers tell while a job runs, whether they are processes or actors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from snow_runtime.score.parts import PartSummary


@dataclass(frozen=True)
class Advanced:
    """A shard is under way.

    Attributes:
        number: The shard's.
        rows: How many rows of it are there; 0 where it begins anew.
    """

    number: int
    rows: int


@dataclass(frozen=True)
class Finished:
    """A shard's part is written.

    Attributes:
        number: The shard's.
        summary: What it holds.
    """

    number: int
    summary: PartSummary


@dataclass(frozen=True)
class Failed:
    """A shard was given up; the next run of the job does it again.

    Attributes:
        number: The shard's.
        reason: Why.
    """

    number: int
    reason: str


@dataclass(frozen=True)
class Died:
    """A worker ended in the middle of a shard, which another one does again.

    Attributes:
        number: The shard's.
        how: What is known of its end, such as `killed by signal 9`.
    """

    number: int
    how: str


Event: TypeAlias = "Advanced | Finished | Failed | Died"
