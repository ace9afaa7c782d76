"""From logits about pictures that took no part in training to what a manifest says of confidence.

Axes: M pictures; C labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.confidence.conformal import set_bounds
from snow_runtime.confidence.fit_familiarity import KnownPictures, fit_familiarity
from snow_runtime.confidence.probabilities import to_probabilities
from snow_runtime.confidence.reliability import Reliability, measure_reliability
from snow_runtime.confidence.selective import certainties, least_probability, right_answers
from snow_runtime.confidence.temperature import FEWEST_PICTURES, fit_temperature
from snow_runtime.graph.confidence_entry import ConfidenceEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snow_runtime.confidence.temperature import Targets
    from snow_runtime.graph.confidence_entry import HeldOutFrom
    from snow_runtime.graph.familiarity_entry import FamiliarityEntry
    from snow_runtime.graph.features_entry import TapEntry
    from snow_runtime.multilabel import Labelling


@dataclass(frozen=True)
class HeldOutAnswers:
    """A task's answers about pictures that took no part in its training.

    Attributes:
        logits: float32 `[M, C]`.
        targets: int64 `[M]`, the right label of each; or bool `[M, C]` where several may be right.
        held_out_from: Which pictures they are.
    """

    logits: NDArray[np.float32]
    targets: Targets
    held_out_from: HeldOutFrom

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which of them are right, bool `[M]`; of several labels every one has to be."""
        values = to_probabilities(self.logits, "several" if self.targets.ndim == 2 else "one")
        return right_answers(values, self.targets)


def find_confidence(
    held_out: HeldOutAnswers,
    right_share: float | None = None,
    familiarity: FamiliarityEntry | None = None,
) -> ConfidenceEntry | None:
    """Fit a temperature, and find the bounds that hold at it.

    Args:
        held_out: The answers.
        right_share: Share of right answers, in (0, 1), that those given are to have; None gives
            every answer.
        familiarity: What the training pictures look like, if it is known.

    Returns:
        None of fewer pictures than a temperature takes. Where no least probability shows
        `right_share`, neither of the two is in it.
    """
    logits, targets = held_out.logits, held_out.targets
    if len(logits) < FEWEST_PICTURES:
        return None
    several = targets.ndim == 2
    temperature = fit_temperature(logits, targets)
    values = to_probabilities(logits, "several" if several else "one", temperature)
    selected = None
    if right_share is not None:
        right = right_answers(values, targets)
        selected = least_probability(certainties(values, several=several), right, right_share)
    return ConfidenceEntry(
        temperature,
        len(logits),
        held_out.held_out_from,
        None if selected is None else right_share,
        None if selected is None else selected.least_probability,
        {} if several else set_bounds(values, np.asarray(targets)),
        familiarity,
    )


def familiarity_of(
    features: NDArray[np.floating[Any]], held_out: HeldOutAnswers, taps: Sequence[TapEntry]
) -> FamiliarityEntry | None:
    """Fit what training pictures look like that were all answered in cross-validation.

    Args:
        features: `[M, F]`, of the pictures in the order of the answers.
        held_out: Their answers.
        taps: Whose features they are.
    """
    pictures = KnownPictures(features, held_out.logits, held_out.right)
    return fit_familiarity(pictures, taps, several=held_out.targets.ndim == 2)


def reliability_of(
    logits: NDArray[np.float32], targets: Targets, temperature: float = 1.0
) -> Reliability:
    """Say how reliable the probabilities of some logits are, at a temperature."""
    answers: Labelling = "several" if targets.ndim == 2 else "one"
    values: NDArray[Any] = to_probabilities(logits, answers, temperature)
    return measure_reliability(values, targets)
