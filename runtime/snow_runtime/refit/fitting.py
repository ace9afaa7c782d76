"""A fit under way, and how it becomes a version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snow_runtime.refit import job as files
from snow_runtime.refit.evidence import Honest
from snow_runtime.refit.versions import new_version

if TYPE_CHECKING:
    from snow_runtime.collection.records import CollectionQuestion
    from snow_runtime.refit.gathering import Gathered
    from snow_runtime.refit.job import FitJob
    from snow_runtime.refit.process import FitProcess
    from snow_runtime.refit.versions import Version, Versions


@dataclass
class Fitting:
    """A fit under way.

    Attributes:
        question: The question.
        gathered: What it is made of.
        job: What the process was given.
        process: The process.
        taken: Whether its readout was taken.
        number: Number of the version that it became.
    """

    question: CollectionQuestion
    gathered: Gathered
    job: FitJob
    process: FitProcess
    taken: bool = False
    number: int | None = None


def keep_fit(versions: Versions, fitting: Fitting, done: dict[str, Any]) -> Version:
    """Make a version of a fit that is whole.

    Args:
        versions: The question's versions.
        fitting: The fit.
        done: What its process says of it.

    Raises:
        ReadoutError: It cannot be written.
    """
    gathered, folder = fitting.gathered, fitting.process.folder
    accuracy, error = done["cross_validated"]
    honest = done["honest"]
    facts = new_version(
        fitting.question.name,
        data_sha256=gathered.data_sha256,
        revision=gathered.revision,
        source_sha256=fitting.job.manifest.source.sha256,
        labels=dict(gathered.counts or {}),
        cross_validated=(accuracy, error),
        honest=None if honest is None else Honest(**honest),
        remarks=(*gathered.remarks, *done["remarks"]),
    )
    return versions.add(folder / files.READOUT, folder / files.EVIDENCE, facts)
