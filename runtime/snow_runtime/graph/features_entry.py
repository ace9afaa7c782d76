"""The source's pooled features, as a manifest has them where a graph gives them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document
from snow_runtime.graph.field_checks import Positive


@dataclass(frozen=True)
class TapEntry(Document):
    """A tensor of the source whose mean over height and width serves as features.

    Attributes:
        name: Name of the block that puts it out.
        channels: N, a feature each.
    """

    prefix: ClassVar[str] = "a tap's "

    name: str
    channels: Positive


@dataclass(frozen=True)
class FeaturesEntry(Document):
    """The output that readouts outside the graph are evaluated on.

    Attributes:
        output: Name of the output, float32 `[B, F]`.
        taps: Whose means follow each other in it; F is the sum of their channels.
    """

    prefix: ClassVar[str] = "features."

    output: str
    taps: tuple[TapEntry, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        field_checks.unique("the list of taps", [tap.name for tap in self.taps])

    @property
    def width(self) -> int:
        """F, how many features there are."""
        return sum(tap.channels for tap in self.taps)
