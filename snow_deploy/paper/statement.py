"""One statement of the paper that can be checked, as a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_deploy.paper.stored_tables import Tables

TOLERANCE: Final = 0.05
"""Of the stated figure: so far short of it still agrees."""


@dataclass(frozen=True)
class Statement:
    """One statement of the paper, as a figure.

    Attributes:
        section: Where it stands.
        text: What it says of the figure.
        says: The figure: as it is stated, or the bound that its words set.
        holds: Whether what is measured is to be that large at least, or at most; or, where its
            words are of an order such as faster and slower, `more` or `less`, without a tolerance.
        papers: The same from its own tables; None where only a figure shows it.
        ours: Function that reads the same from our tables; None where they lack it.
        table: The command whose table it is from.
        batches: Which rows of Table 8 it is of, where that is one block of them.
        remark: Why its own tables, or other conditions, may give something else.
    """

    section: str
    text: str
    says: float
    holds: Literal["least", "most", "more", "less"]
    papers: float | None
    ours: Callable[[Tables], float | None]
    table: str
    remark: str = ""
    batches: str = ""

    def agrees(self, value: float | None) -> str | None:
        """Tell whether a measured figure bears the statement out."""
        if value is None:
            return None
        slack = TOLERANCE * abs(self.says)
        fits = {
            "least": value >= self.says - slack,
            "most": value <= self.says + slack,
            "more": value > self.says,
            "less": value < self.says,
        }
        return "yes" if fits[self.holds] else "no"
