"""Temperatures of INT8 graphs, and how reliable each precision's probabilities are."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_calibration.gate import outputs_of
from snow_runtime.confidence.familiarity import energies
from snow_runtime.confidence.find import reliability_of
from snow_runtime.confidence.fit_familiarity import distances_of, rescaled
from snow_runtime.confidence.probabilities import to_probabilities
from snow_runtime.confidence.selective import certainties, right_answers
from snow_runtime.confidence.temperature import match_temperature

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from snow_calibration.gate import Answers
    from snow_calibration.pictures import CalibrationPictures, LabelledPictures
    from snow_runtime.confidence.reliability import Reliability
    from snow_runtime.graph.manifest import Manifest, TaskEntry

_MATCHED = 256
"""Pictures that a temperature is matched on."""


@dataclass(frozen=True)
class TaskTrust:
    """How far one task's answers can be trusted in one precision, on the gate's pictures.

    Attributes:
        task: Its name.
        precision: The precision.
        temperature: What the logits were divided by.
        reliability: Calibration error, Brier score and their bins.
        given: Share of the answers that are given, 0 to 1: the others are unsure.
        right: Share of those given that is right; of several labels all; None where none is given.
    """

    task: str
    precision: str
    temperature: float
    reliability: Reliability
    given: float
    right: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def match_fp32(
    manifest: Manifest, graph: Path, candidate: Path, samples: CalibrationPictures
) -> Manifest:
    """Fit the tasks' temperatures anew, so that probabilities are those of fp32.

    What is known of the training pictures' look moves as the features do. No label is needed, so it
    takes the pictures that ranges are measured on, and leaves those that judge alone. Tasks of
    which nothing is known stay so.

    Args:
        manifest: The candidate's.
        graph: The fp32 graph, whose temperatures were fitted on labelled pictures.
        candidate: The graph in another precision.
        samples: Pictures that no task is judged by.
    """
    if all(task.confidence is None for task in manifest.tasks):
        return manifest
    pixels = samples.spread(_MATCHED)
    before, now = outputs_of(graph, pixels), outputs_of(candidate, pixels)
    tasks = [_matched(task, manifest, before, now) for task in manifest.tasks]
    return replace(manifest, tasks=tuple(tasks))


def _matched(task: TaskEntry, manifest: Manifest, before: Answers, now: Answers) -> TaskEntry:
    old, new = before[task.output], now[task.output]
    finite = np.isfinite(old).all() and np.isfinite(new).all()
    if task.confidence is None or not finite:
        return task
    found = match_temperature(new, old / task.temperature, several=task.answers == "several")
    known, features = task.confidence.familiarity, manifest.features
    if known is not None and features is not None:
        looks = [
            (distances_of(known, each[features.output], features.taps), energies(each[task.output]))
            for each in (before, now)
        ]
        known = rescaled(known, *looks)
    confidence = replace(
        task.confidence,
        temperature=found,
        pictures=len(new),
        held_out_from="agreement",
        familiarity=known,
    )
    return replace(task, confidence=confidence)


def measure_trust(
    precision: str, answers: Answers, truth: Mapping[str, LabelledPictures], manifest: Manifest
) -> tuple[TaskTrust, ...]:
    """Say how reliable answers about labelled pictures are; those with NaN are left out.

    Args:
        precision: Precision that they were given in.
        answers: Logits [M, C] by task.
        truth: The pictures, by task.
        manifest: Manifest of the graph that answered, with the temperatures.
    """
    found = []
    for name, labelled in truth.items():
        if name not in answers:
            continue
        task, logits = manifest.task(name), answers[name]
        if not np.isfinite(logits).all():
            continue
        targets = labelled.targets > 0 if labelled.several else labelled.targets
        values = to_probabilities(logits, task.answers, task.temperature)
        least = None if task.confidence is None else task.confidence.least_probability
        given = certainties(values, several=labelled.several) >= (least or 0.0)
        right = right_answers(values, targets)[given]
        found.append(
            TaskTrust(
                name,
                precision,
                task.temperature,
                reliability_of(logits, targets, task.temperature),
                float(given.mean()),
                float(right.mean()) if len(right) else None,
            )
        )
    return tuple(found)
