"""The accuracy of every variant, by the precisions that can be planned in."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from snow_deploy.errors import PlanError
from snow_deploy.plan.device_model import DeviceModel
from snow_deploy.plan.gate_accuracies import score_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.plan.accuracy import Accuracy
    from snow_deploy.plan.gate_accuracies import GateScore
    from snow_deploy.plan.measured import Measurements
    from snow_deploy.plan.request import PlanRequest
    from snow_deploy.plan.variants import PlannedTask, TaskVariant
    from snow_runtime.graph.manifest import Precision

AccuracyTable: TypeAlias = "dict[Precision, list[list[Accuracy | None]]]"
"""By precision, of each task's variants; None where there is no accuracy in that precision."""


def tabulate_accuracies(
    request: PlanRequest,
    tasks: Sequence[PlannedTask],
    scores: dict[str, GateScore],
    measurements: Measurements,
) -> tuple[AccuracyTable, list[str]]:
    """Return the accuracies by precision, and a note for each precision that has too few.

    Raises:
        PlanError: No precision is left, or the device does not compute in the one asked for.
    """
    found: AccuracyTable = {}
    notes = []
    precisions = _precisions(request, scores, measurements)
    if scores and precisions and "int8" not in precisions and request.precision is None:
        notes.append(
            "no int8: none was measured in it"
            if request.device is None
            else f"no int8: the {request.device.title} does not compute in it"
        )
    for precision in precisions:
        rows = [
            [_accuracy(variant, precision, scores, request) for variant in task.variants]
            for task in tasks
        ]
        bare = [task.name for task, row in zip(tasks, rows, strict=True) if not any(row)]
        if bare:
            notes.append(
                f"no {precision}: gates judge on held-out pictures alone, and this plan goes by "
                f"{request.basis} accuracies"
                if scores and request.basis != "held-out"
                else f"no {precision}: no gate has judged a variant of {', '.join(bare)} "
                "(snow-deploy calibrate, then --int8 with its graph)"
            )
            continue
        found[precision] = rows
        if precision == "int8":
            notes += _undecided(tasks, scores)
    if not found and not notes:
        why = "; ".join(measurements.notes) or "the files hold none"
        msg = f"no measurement can be used ({why}). Measure again, or give --device."
        raise PlanError(msg)
    if not found:
        msg = f"nothing is left to plan: {'; '.join(notes)}. Leave --precision out, or give --int8."
        raise PlanError(msg)
    return found, notes


def _undecided(tasks: Sequence[PlannedTask], scores: dict[str, GateScore]) -> list[str]:
    """Say of which variants a gate did not show that INT8 is good enough."""
    every = [variant for task in tasks for variant in task.variants]
    judged = [(variant.name, score_of(variant.record, scores)) for variant in every]
    return [
        f"the gate of {score.origin} is {score.outcome} about {name}: INT8 may lose too much"
        for name, score in judged
        if score is not None and score.outcome not in {"pass", ""}
    ]


def _precisions(
    request: PlanRequest, scores: dict[str, GateScore], measurements: Measurements
) -> list[Precision]:
    """Return what to plan in: what the device computes in, and what was measured."""
    if request.precision is not None:
        if request.device is not None and not measurements.graphs:
            DeviceModel(request.device).check_precision(request.precision)
        return [request.precision]
    known = {graph.precision for graph in measurements.graphs}
    if request.device is not None:
        known |= set(request.device.tera_ops) - ({"int8"} if not scores else set())
    order: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    return [precision for precision in order if precision in known]


def _accuracy(
    variant: TaskVariant, precision: Precision, scores: dict[str, GateScore], request: PlanRequest
) -> Accuracy | None:
    stored = variant.accuracies[request.basis]
    if precision != "int8":
        return stored
    score = score_of(variant.record, scores)
    if score is None or request.basis != "held-out":  # a gate judges on held-out pictures
        return None
    return score.accuracy(stored)
