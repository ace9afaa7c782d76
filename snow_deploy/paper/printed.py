"""The paper's printed figures, as far as they are known, each with where it comes from.

What is not here is not known to this project, and the tables print a dash for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASSES: Final = (101, 47, 40, 196, 200)
"""Of Food-101, DTD, Stanford 40 Actions, Cars and CUB-200, the five tasks beside the source's."""
SOURCE_CLASSES: Final = 1000
ARCHITECTURE: Final = "resnet50"

_TABLE_5 = "Table 5, parameters in millions for six tasks"
_TABLE_6 = "Table 6, parameters in millions of the five deltas together"
_TRAINING = "training on a GPU, SNOW at a batch of 256 and FT at 128"
_HEADLINE = (
    "headline claim; its place in the paper was not seen: the abstract on OpenReview has no figures"
)


@dataclass(frozen=True)
class Printed:
    """A figure that the paper prints.

    Attributes:
        value: Value in the unit that `where` names; a ratio has none.
        where: Which table or statement it is from.
    """

    value: float
    where: str


PARAMETERS: Final = {
    "fo": Printed(26.8, _TABLE_5),
    "fe": Printed(28.3, _TABLE_5),
    "ft": Printed(144.3, _TABLE_5),
    "mp": Printed(26.9, _TABLE_5),
    "pn": Printed(257.4, _TABLE_5),
    "snow": Printed(30.8, _TABLE_5),
}
"""By scheme, the source and five tasks."""

SUBSCRIPTION_PARAMETERS: Final = {
    "conv1x1": Printed(14.0, _TABLE_6),
    "attention": Printed(35.0, _TABLE_6),
    "all": Printed(17.5, _TABLE_6),
    "pooling": Printed(5.5, _TABLE_6),
}
"""By subscription."""

SPEED_OVER_FT: Final = {"snow": Printed(2.65, _TRAINING)}
"""Pictures a second in training over those of FT."""
PEAK_OVER_FT: Final = {"snow": Printed(0.32, _TRAINING)}
"""Peak memory of training over that of FT."""
SERVING_OVER_FT: Final = {"snow": Printed(7.5, _HEADLINE)}
"""Pictures a second in serving over those of separate models."""


def value(printed: Printed | None) -> float | None:
    """Return the figure, or None where it is not known."""
    return None if printed is None else printed.value


def is_papers(architecture: str, source_classes: int, classes: Sequence[int]) -> bool:
    """Tell whether parameters are counted for the networks that the paper counts."""
    same = sorted(classes) == sorted(CLASSES)
    return same and (architecture, source_classes) == (ARCHITECTURE, SOURCE_CLASSES)
