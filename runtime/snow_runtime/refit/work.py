"""One fit, from its job's file to the files of its result."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.learn.collect import LookedAt
from snow_runtime.learn.fit import fit_with_answers
from snow_runtime.learn.targets import Targets
from snow_runtime.refit import job as files
from snow_runtime.refit.evidence import HeldOutEvidence
from snow_runtime.refit.groups import classes_of, group_pictures, names_of
from snow_runtime.refit.job import FitJob, write_json
from snow_runtime.refit.learning_curve import CurvePictures, curve_points, forecast

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.readout.file import ReadoutFile
    from snow_runtime.readout.fit import FittedReadout
    from snow_runtime.refit.groups import Groups


def do_fit(folder: Path) -> None:
    """Fit what a folder's job says: first the readout, then what its learning curve takes.

    Raises:
        SnowError: It cannot be fitted.
        OSError: A file cannot be read or written.
    """
    job = FitJob.read(folder)
    groups = group_pictures(job.features, classes_of(job.targets), job.taken)
    readout, fitted = _fitted(job, groups)
    readout.write(folder / files.READOUT)
    evidence = _evidence(job, groups, fitted)
    evidence.write(folder / files.EVIDENCE)
    write_json(folder / files.DONE, _said(evidence, fitted))
    chosen = fitted.chosen
    given = CurvePictures(job.features, chosen.features, groups.held_out, chosen.penalty)
    points = curve_points(given, evidence)
    write_json(
        folder / files.REPORT,
        {"curve": [asdict(point) for point in points], "forecast": forecast(points, evidence)},
    )


def _fitted(job: FitJob, groups: Groups) -> tuple[ReadoutFile, FittedReadout]:
    targets = Targets(job.labels, job.targets)
    seen = LookedAt(job.manifest, job.features, targets, job.check, ())
    return fit_with_answers(seen, job.name, groups=groups.held_out)


def _evidence(job: FitJob, groups: Groups, fitted: FittedReadout) -> HeldOutEvidence:
    several = job.targets.ndim == 2
    return HeldOutEvidence(
        job.ids,
        job.labels,
        job.targets,
        np.asarray(fitted.logits, np.float32),
        groups.moments,
        job.random,
        tuple(tuple(job.ids[list(rows)].tolist()) for rows in groups.copies),
        names_of(groups.split, job.labels, several=several),
    )


def _said(evidence: HeldOutEvidence, fitted: FittedReadout) -> dict[str, Any]:
    honest = evidence.honest()
    remarks = []
    if evidence.split:
        remarks.append(
            f"The pictures of {', '.join(evidence.split)} are mostly of one moment, so that the "
            "accuracies tell little of other moments. Label pictures of another day."
        )
    return {
        "cross_validated": [fitted.chosen.accuracy, fitted.chosen.standard_error],
        "honest": None if honest is None else honest._asdict(),
        "remarks": remarks,
    }
