"""Whether a new version takes the place of the one that answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snow_runtime.refit.compare import Judged, VersionComparison, compare_versions, wrong_by
from snow_runtime.refit.groups import classes_of, group_pictures

if TYPE_CHECKING:
    from snow_runtime.readout.file import ReadoutFile
    from snow_runtime.refit.evidence import HeldOutEvidence
    from snow_runtime.refit.gathering import Gathered


@dataclass(frozen=True)
class GateDecision:
    """What the gate says.

    Attributes:
        goes_live: Whether the new version is to answer.
        reason: Why.
        comparison: Both versions on the same pictures; None where there is no old one.
    """

    goes_live: bool
    reason: str
    comparison: VersionComparison | None = None


def decide(
    old: tuple[ReadoutFile, HeldOutEvidence] | None,
    new: tuple[ReadoutFile, HeldOutEvidence],
    judged: Judged,
) -> GateDecision:
    """Decide whether a new version is to answer.

    Args:
        old: The one that answers, with its evidence; None where none does.
        new: The new one.
        judged: Labelled pictures as they are now.
    """
    if old is None:
        return GateDecision(goes_live=True, reason="it is the first one that answers")
    (before, fair_before), (now, fair_now) = wrong_by(*old, judged), wrong_by(*new, judged)
    fair = fair_before & fair_now
    found = compare_versions(before[fair], now[fair], judged.moments[fair])
    if found.is_worse:
        return GateDecision(
            goes_live=False,
            reason=f"it seems worse than the live one: {found.text}",
            comparison=found,
        )
    return GateDecision(
        goes_live=True,
        reason=f"it is no worse than the one before: {found.text}",
        comparison=found,
    )


def judged_by(gathered: Gathered, evidence: HeldOutEvidence) -> Judged:
    """Give the pictures to judge by: those that are labelled now.

    Args:
        gathered: The labelled pictures.
        evidence: What the new version's were answered; where these are the same pictures, what
            belongs together is known.
    """
    job = gathered.job
    if job is None:
        none = np.empty(0, np.int64)
        return Judged(none, np.empty((0, 0)), evidence.labels, evidence.targets[:0], none)
    if np.array_equal(job.ids, evidence.ids):
        moments = evidence.moments
    else:
        moments = group_pictures(job.features, classes_of(job.targets), job.taken).moments
    return Judged(job.ids, job.features, job.labels, job.targets, moments)
