"""How a readout is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from snow_runtime.readout.fit import ClassWeights

MOST_VIEWS = 64


@dataclass(frozen=True)
class ReadoutOptions:
    """How a readout is fitted.

    Attributes:
        views: How often each training picture is looked at: its centre, then crops and flips. None
            is twice, or once where crops would change what a picture shows.
        features: K, how many of the taps' features to read; None chooses by cross-validation.
        class_weights: Whether every picture counts the same in the loss, or every class does.
    """

    views: int | None = None
    features: int | None = None
    class_weights: ClassWeights = "equal"

    def ranges(self) -> dict[str, tuple[bool, str]]:
        """Tell of each option by its name whether it is in range, and what is expected."""
        views, weights = self.views, get_args(ClassWeights)
        return {
            "views": (views is None or 1 <= views <= MOST_VIEWS, f"1 to {MOST_VIEWS}"),
            "features": (self.features is None or self.features >= 1, "1 or more"),
            "class-weights": (self.class_weights in weights, ", ".join(weights)),
        }
