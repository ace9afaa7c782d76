"""How far trained tasks can be trusted: their answers on pictures that took no part in training."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from snow_deploy.training.familiar_pictures import FamiliarPictures
from snow_deploy.training.measure import measure_together
from snow_runtime.confidence.find import HeldOutAnswers, find_confidence

if TYPE_CHECKING:
    from snow_deploy.training.module import TaskModule
    from snow_deploy.training.store import Store
    from snow_runtime.graph.confidence_entry import ConfidenceEntry, HeldOutFrom
    from snow_runtime.graph.familiarity_entry import FamiliarityEntry


def find_confidences(
    store: Store, module: TaskModule, *, workers: int
) -> list[ConfidenceEntry | None]:
    """Fit each active task's temperature and bounds on the pictures kept for that.

    Args:
        store: Store with the source, and the features of pictures.
        module: The trained tasks.
        workers: Processes that load pictures.

    Returns:
        One for each active learner; None where there are no such pictures, or too few, or an answer
        to one is not finite.
    """
    learners = module.active
    pictures = [each for learner in learners if (each := learner.splits.tuning) is not None]
    if not pictures or len(pictures) < len(learners):
        return [None] * len(learners)
    module.eval()
    measured, _ = measure_together(
        lambda images: module(images.to(module.device)),
        pictures,
        module.preprocessing,
        workers=workers,
    )
    looks = FamiliarPictures(store, module.preprocessing, workers=workers)
    found: list[ConfidenceEntry | None] = []
    for learner, answered in zip(learners, measured, strict=True):
        if not answered.is_finite:
            found.append(None)
            continue
        splits = learner.splits
        where: HeldOutFrom = "validation" if splits.tuning is splits.val else "training"
        held_out = HeldOutAnswers(answered.logits, answered.targets, where)
        known = looks.fit(splits, answered)
        found.append(tell_confidence(learner.name, held_out, learner.options.right_share, known))
    return found


def tell_confidence(
    task: str,
    held_out: HeldOutAnswers,
    right_share: float | None,
    familiarity: FamiliarityEntry | None = None,
) -> ConfidenceEntry | None:
    """Fit a temperature and bounds, and warn where a share of right answers cannot be shown.

    Args:
        task: Name of the task, for the warning.
        held_out: Its answers to pictures that it was not trained on.
        right_share: Share that is asked for, if one is.
        familiarity: What its training pictures look like.
    """
    found = find_confidence(held_out, right_share, familiarity)
    if right_share is not None and (found is None or found.right_share is None):
        warnings.warn(
            f"task {task}: no least probability shows that {right_share:g} of the answers given "
            f"are right, on {len(held_out.logits)} held-out pictures; every answer is given. Add "
            "pictures, or ask for a smaller --right-share.",
            stacklevel=2,
        )
    return found
