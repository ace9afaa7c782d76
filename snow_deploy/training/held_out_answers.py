"""How far trained tasks can be trusted: their answers on pictures that took no part in training."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from snow_deploy.training.measure import measure_together
from snow_runtime.confidence.find import HeldOutAnswers, find_confidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.training.measure import Measured
    from snow_deploy.training.module import TaskModule
    from snow_runtime.graph.confidence_entry import ConfidenceEntry, HeldOutFrom


def find_confidences(module: TaskModule, *, workers: int) -> list[ConfidenceEntry | None]:
    """Fit each active task's temperature and bounds on the pictures kept for that.

    Returns:
        One for each active learner; None where there are no such pictures, or too few, or an answer
        to one is not finite.
    """
    learners = module.active
    kept = [learner.splits.tuning for learner in learners]
    pictures = [each for each in kept if each is not None]
    if not pictures or len(pictures) < len(kept):
        return [None] * len(learners)
    module.eval()
    measured, _ = measure_together(
        lambda images: module(images.to(module.device)),
        pictures,
        module.preprocessing,
        workers=workers,
    )
    return [
        confidence_of(learner.name, found, learner.options.right_share, validation=validation)
        for learner, found, validation in zip(
            learners, measured, _from_validation(module), strict=True
        )
    ]


def confidence_of(
    task: str, measured: Measured, right_share: float | None, *, validation: bool
) -> ConfidenceEntry | None:
    """Fit a task's temperature and bounds on what was measured on held-out pictures."""
    if not measured.is_finite:
        return None
    where: HeldOutFrom = "validation" if validation else "training"
    return tell_confidence(
        task, HeldOutAnswers(measured.logits, measured.targets, where), right_share
    )


def tell_confidence(
    task: str, held_out: HeldOutAnswers, right_share: float | None
) -> ConfidenceEntry | None:
    """Fit a temperature and bounds, and warn where a share of right answers cannot be shown."""
    found = find_confidence(held_out, right_share)
    if right_share is not None and (found is None or found.right_share is None):
        warnings.warn(
            f"task {task}: no least probability shows that {right_share:g} of the answers given "
            f"are right, on {len(held_out.logits)} held-out pictures; every answer is given. Add "
            "pictures, or ask for a smaller --right-share.",
            stacklevel=2,
        )
    return found


def _from_validation(module: TaskModule) -> Sequence[bool]:
    return [learner.splits.tuning is learner.splits.val for learner in module.active]
