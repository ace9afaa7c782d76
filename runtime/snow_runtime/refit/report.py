"""What there is to know of a version, for the page and the command line."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.errors import ReadoutError
from snow_runtime.refit.evidence import confusion
from snow_runtime.refit.label_errors import likely_errors

if TYPE_CHECKING:
    from collections.abc import Collection

    from snow_runtime.refit.evidence import HeldOutEvidence
    from snow_runtime.refit.versions import Versions


def report_of(versions: Versions, number: int, there: Collection[int]) -> dict[str, Any]:
    """Report on a version, as plain JSON values.

    Args:
        versions: The question's versions.
        number: Number of the version.
        there: Numbers of the pictures that are in the collection; others are told no more.

    Raises:
        ReadoutError: There is no such version.
    """
    found: dict[str, Any] = {"version": versions.one(number).to_dict()}
    try:
        evidence = versions.evidence(number)
    except ReadoutError as error:
        return {**found, "error": str(error)}
    return {**found, **_on_evidence(evidence, there), **versions.report(number)}


def _on_evidence(evidence: HeldOutEvidence, there: Collection[int]) -> dict[str, Any]:
    counts = (
        np.asarray(evidence.targets).sum(axis=0)
        if evidence.several
        else np.bincount(evidence.targets, minlength=len(evidence.labels))
    )
    return {
        "labels": dict(zip(evidence.labels, counts.tolist(), strict=True)),
        "pictures": len(evidence.ids),
        "moments": len(np.unique(evidence.moments)),
        "confusion": {
            right: {said: [each for each in ids if each in there] for said, ids in row.items()}
            for right, row in confusion(evidence).items()
        },
        "likely_errors": [asdict(each) for each in likely_errors(evidence) if each.id in there],
        "duplicates": [[each for each in ids if each in there] for ids in evidence.copies],
    }
