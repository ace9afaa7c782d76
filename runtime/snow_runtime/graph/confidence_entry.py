"""What is known of how far a task's answers can be trusted, as a manifest has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document
from snow_runtime.graph.familiarity_entry import FamiliarityEntry
from snow_runtime.graph.field_checks import Proportion

HeldOutFrom = Literal["validation", "training", "cross-validation", "agreement"]
"""Which pictures a temperature was fitted on: the data's validation pictures, a part of the
training pictures that took no part in training, all of them in turn, or pictures without labels, by
agreement with another graph."""


def _temperature(where: str, value: object) -> float:
    found = field_checks.number(where, value)
    if found <= 0:
        raise field_checks.refusal(where, value, "a number above 0")
    return found


@dataclass(frozen=True)
class ConfidenceEntry(Document):
    """How logits become probabilities that mean what they say, and which answers are withheld.

    Attributes:
        temperature: The logits are divided by it; above 1 where they are too sure.
        pictures: How many pictures it was fitted on.
        held_out_from: Which they were.
        right_share: Share of right answers that those given are to have; None where answers are
            given whatever their probability.
        least_probability: Answers that are less certain are unsure; None without `right_share`.
        sets: Least probability of a label in the set that holds the right one at a level, by the
            level, such as ``0.9``.
        familiarity: What the training pictures look like to the source; None where every picture
            counts as familiar.
    """

    prefix: ClassVar[str] = "confidence."

    temperature: Annotated[float, _temperature]
    pictures: int
    held_out_from: HeldOutFrom
    right_share: Proportion | None = None
    least_probability: Proportion | None = None
    sets: dict[str, Proportion] = field(default_factory=dict, hash=False)
    familiarity: FamiliarityEntry | None = None
