"""What is said of a task once it is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

GateOutcome = Literal["pass", "fail", "undecided"]

MOST_NEEDED: Final = 1_000_000
"""Pictures; that more would decide is no advice."""


@dataclass(frozen=True)
class Verdict:
    """What the counts say of one task. Drops are in points of top-1, percent.

    Where any number of labels may be right, a picture is lost where INT8 answers more of them
    wrongly than fp32, and a point is one picture in a hundred: see `TaskScore`.

    Attributes:
        task: Its name.
        outcome: `pass`, `fail` or `undecided`.
        pictures: Labelled pictures that it was judged by.
        lost: The number of those answered rightly by fp32 and wrongly by INT8.
        won: The number of those answered wrongly by fp32 and rightly by INT8.
        drop: Points lost on these pictures.
        least_drop: Lower bound of the drop, as far as is shown; below 0 where it may win.
        most_drop: Upper bound of the drop.
        mcnemar: Exact p-value of there being no difference at all.
        unlabelled: Pictures without labels that it was compared with fp32 on.
        changed: The number of those with another answer.
        most_changed: Largest percentage of pictures that get another answer, which the drop cannot
            exceed; None without such pictures.
        needed: The number of labelled pictures that would decide in about four draws of five, at
            the rates seen; None where it is decided, or no number is near.
        finite: Whether all answers are numbers; else it fails.
    """

    task: str
    outcome: GateOutcome
    pictures: int
    lost: int
    won: int
    drop: float
    least_drop: float
    most_drop: float
    mcnemar: float
    unlabelled: int = 0
    changed: int = 0
    most_changed: float | None = None
    needed: int | None = None
    finite: bool = True

    def line(self) -> str:
        """Say it in one line."""
        if not self.finite:
            return f"{self.task}: {self.outcome}; some answers are no numbers"
        said = (
            f"{self.task}: {self.outcome}; lost {self.lost} and won {self.won} of {self.pictures} "
            f"answers (McNemar p = {self.mcnemar:.2g}), a drop of {self.least_drop:.2f} to "
            f"{self.most_drop:.2f} points"
        )
        if self.most_changed is not None:
            said += (
                f"; {self.changed} of {self.unlabelled} answers without labels changed, "
                f"{self.most_changed:.2f} % at most"
            )
        if self.outcome == "undecided":
            number = f"about {self.needed}" if self.needed else f"not even {MOST_NEEDED}"
            said += f"; {number} labelled pictures would decide"
        return said
