"""From a request to a plan: accuracies, times, the search, and the candidates counted for real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from snow_deploy.errors import PlanError
from snow_deploy.plan.accuracy_table import tabulate_accuracies
from snow_deploy.plan.combination import Combination
from snow_deploy.plan.combination_graph import GraphCounter
from snow_deploy.plan.device_model import DeviceModel
from snow_deploy.plan.form_costs import count_forms
from snow_deploy.plan.gate_accuracies import read_gate_scores
from snow_deploy.plan.measured import machine_notes, match_measurements, read_measurements
from snow_deploy.plan.precision_search import PrecisionSearch, Times
from snow_deploy.plan.variants import read_candidates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.plan.accuracy_table import AccuracyTable
    from snow_deploy.plan.request import PlanRequest
    from snow_deploy.plan.search import Choice
    from snow_deploy.plan.variants import Candidates, PlannedTask
    from snow_runtime.progress import ProgressCallback

_MARGIN: Final = 0.05  # of a time that is composed, until it is known how far off those are


@dataclass(frozen=True)
class Plan:
    """What was found.

    Attributes:
        request: What was asked for.
        candidates: What could be combined.
        accuracies: The accuracy of each task's variants, by precision; None where there is none.
        frontier: Combinations that nothing beats in both time and accuracy, the fastest first.
        best: The most accurate of them that fits the budget; None without a budget.
        layers_from: Where the numbers of layers are from; None without a device.
        composed_error: The largest error of a composed time that was counted, as a share; None
            where none was.
        notes: What a reader should know.
    """

    request: PlanRequest
    candidates: Candidates
    accuracies: AccuracyTable
    frontier: tuple[Combination, ...]
    best: Combination | None
    layers_from: str | None
    composed_error: float | None
    notes: tuple[str, ...]


class _Candidate(NamedTuple):
    """A combination of one precision, on the way to the frontier of all."""

    ms: float
    accuracy: float
    choice: Choice
    search: PrecisionSearch


def plan_tasks(request: PlanRequest, progress: ProgressCallback | None = None) -> Plan:
    """Find which variants to deploy.

    Raises:
        PlanError: Variants cannot be compared or combined, or nothing fits the budget.
        StoreError: A store or a task is missing or damaged.
        GraphError: An INT8 graph cannot be read.
        ExportError: A graph cannot be made.
        EngineError: A graph cannot be compiled.
    """
    candidates = read_candidates(request.store, request.tasks, request.basis)
    scores = read_gate_scores(request.gates)
    measurements = read_measurements(request.measurements)
    accuracies, notes = tabulate_accuracies(request, candidates.tasks, scores, measurements)
    times, counter = _times(request, candidates, progress)
    measured, more = match_measurements(candidates, measurements, request.budget.cameras)
    more += machine_notes(measured, None if request.device is None else request.device.title)
    searches = [
        PrecisionSearch(precision, candidates.tasks, rows, times, measured.get(precision, {}))
        for precision, rows in accuracies.items()
    ]
    error = None if counter is None else _count(request, candidates, searches, counter, progress)
    found = _frontier(searches)
    if not found:
        raise PlanError(_no_times(request))
    frontier = tuple(_combination(each, candidates.tasks) for each in found)
    best = _best(request, frontier)
    return Plan(
        request,
        candidates,
        accuracies,
        frontier,
        best,
        None if counter is None else counter.layers_from,
        error,
        (*candidates.notes, *notes, *measurements.notes, *more),
    )


def _times(
    request: PlanRequest, candidates: Candidates, progress: ProgressCallback | None
) -> tuple[Times, GraphCounter | None]:
    batch = request.budget.cameras
    if request.device is None:
        return Times(None, None, batch), None
    counter = GraphCounter(
        candidates.store.source_weights(), request.device.target, compiles=request.compiles
    )
    costs = count_forms(candidates.tasks, counter, progress)
    return Times(DeviceModel(request.device), costs, batch), counter


def _count(
    request: PlanRequest,
    candidates: Candidates,
    searches: Sequence[PrecisionSearch],
    counter: GraphCounter,
    progress: ProgressCallback | None,
) -> float | None:
    """Count the candidates that matter in graphs of their own; return how far off times were."""
    worst: float | None = None
    for number in range(request.graphs):
        if progress is not None:
            progress("counting candidates", number / request.graphs)
        margin = _MARGIN if worst is None else max(_MARGIN, worst)
        target = _to_count(_frontier(searches), request.budget.ms, margin)
        if target is None:
            break
        records = [
            task.variants[it].record
            for task, it in zip(candidates.tasks, target.choice, strict=True)
        ]
        whole = counter.count(records).whole
        off = abs(target.ms / target.search.predict(whole).ms - 1)
        worst = off if worst is None else max(worst, off)
        target.search.note(target.choice, whole)
    return worst


def _to_count(
    frontier: Sequence[_Candidate], budget_ms: float | None, margin: float
) -> _Candidate | None:
    """Choose what to count next: the best that fits, what may just fit, then the nearest."""
    composed = [each for each in frontier if each.search.is_composed(each.choice)]
    if budget_ms is None or not composed:
        return composed[-1] if composed else None
    fitting = [each for each in frontier if each.ms <= budget_ms]
    if fitting and fitting[-1] in composed:
        return fitting[-1]
    near = [each for each in composed if budget_ms < each.ms <= budget_ms * (1 + margin)]
    return near[0] if near else min(composed, key=lambda it: abs(it.ms - budget_ms))


def _frontier(searches: Sequence[PrecisionSearch]) -> list[_Candidate]:
    """Return what nothing beats in any precision."""
    every = [
        _Candidate(point.ms, point.accuracy, point.choice, search)
        for search in searches
        for point in search.frontier()
    ]
    kept: list[_Candidate] = []
    for each in sorted(every, key=lambda it: (it.ms, -it.accuracy)):
        if not kept or each.accuracy > kept[-1].accuracy:
            kept.append(each)
    return kept


def _combination(found: _Candidate, tasks: Sequence[PlannedTask]) -> Combination:
    search, choice = found.search, found.choice
    workload = search.workload(choice)
    accuracies = {}
    for task, row, number in zip(tasks, search.accuracies, choice, strict=True):
        accuracy = row[number]
        if accuracy is not None:
            accuracies[task.name] = accuracy
    return Combination(
        search.precision,
        {t.name: t.variants[number].name for t, number in zip(tasks, choice, strict=True)},
        accuracies,
        None if workload is None else search.predict(workload[0]),
        None if workload is None else workload[0],
        workload is not None and workload[1],
        search.measured.get(choice),
    )


def _best(request: PlanRequest, frontier: Sequence[Combination]) -> Combination | None:
    """Return the most accurate combination that fits; None without a budget.

    Raises:
        PlanError: Nothing fits.
    """
    budget_ms = request.budget.ms
    if budget_ms is None:
        return None
    fitting = [each for each in frontier if each.ms <= budget_ms]
    if fitting:
        return fitting[-1]
    least = frontier[0]
    named = ", ".join(f"{task} by {name}" for task, name in least.variants.items())
    over = least.ms - budget_ms
    msg = (
        f"Nothing fits into {budget_ms:g} ms. The fastest combination is {named} in "
        f"{least.precision}: {least.ms:.3g} ms {least.said}, which is {over:.3g} ms "
        f"({over / budget_ms:.0%}) too long. Give a larger budget, a faster device, cheaper "
        "variants, or --int8 if an INT8 graph of them was calibrated."
    )
    raise PlanError(msg)


def _no_times(request: PlanRequest) -> str:
    files = ", ".join(map(str, request.measurements))
    return (
        f"No combination of the variants was measured in {files}, and no --device is given to "
        "predict others for. Measure a graph of these tasks at this batch, or give --device."
    )
