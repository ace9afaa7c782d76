"""How an agent looks after its box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.update.limits import Hours


@dataclass(frozen=True)
class AgentOptions:
    """How an agent looks after its box.

    Attributes:
        box: Id of the box.
        tags: Tags of the box, by which waves may name it.
        every_s: How often it looks for an update, in seconds.
        hours: When it may download; None for always.
        root: File of the root that is trusted from the beginning; None for the one that is kept.
    """

    box: str
    tags: tuple[str, ...] = ()
    every_s: float = 300.0
    hours: Hours | None = None
    root: Path | None = None
