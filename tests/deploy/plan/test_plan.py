"""Whole plans against every combination counted in a graph of its own."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from snow_deploy.errors import PlanError
from snow_deploy.plan.combination_graph import ESTIMATED, GraphCounter
from snow_deploy.plan.device import DEVICES
from snow_deploy.plan.device_model import DeviceModel
from snow_deploy.plan.document import plan_document
from snow_deploy.plan.form_costs import count_forms, form_of
from snow_deploy.plan.plan import plan_tasks
from snow_deploy.plan.plot import draw_plan
from snow_deploy.plan.request import Budget, PlanRequest
from snow_deploy.plan.variants import read_candidates
from tests.deploy.plan.graph_files import write_graph
from tests.deploy.plan.test_gate_accuracies import ORIGIN, score, write_report
from tests.deploy.plan.test_measured import contender, write_bench

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.plan.combination_graph import CountedGraph
    from snow_deploy.plan.plan import Plan
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_record import TaskRecord
    from tests.deploy.plan.conftest import AddVariant

DEVICE = DEVICES["orin-nano-8gb-super"]


_COUNT = GraphCounter.count
_KNOWN: dict[tuple[str, ...], CountedGraph] = {}


def count_once(counter: GraphCounter, records: Sequence[TaskRecord]) -> CountedGraph:
    """Count each graph once for all tests; what is counted does not change."""
    key = tuple(record.fingerprint() for record in records)
    if key not in _KNOWN:
        _KNOWN[key] = _COUNT(counter, records)
    return _KNOWN[key]


@pytest.fixture(autouse=True)
def counts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphCounter, "count", count_once)


@pytest.fixture
def request_of(store: Store, four: dict[str, TaskRecord]) -> PlanRequest:
    assert len(four) == 4
    return PlanRequest(store=store.root, device=DEVICE, compiles=False)


def every_time(
    request: PlanRequest, weights: SourceWeights, precision: str = "fp16"
) -> dict[tuple[str, ...], tuple[float, float]]:
    """Count each combination by itself; return its time and total accuracy by its variants."""
    tasks = read_candidates(request.store).tasks
    counter = GraphCounter(weights, "sm86", compiles=False)
    model = DeviceModel(DEVICE)
    found = {}
    for variants in product(*(task.variants for task in tasks)):
        workload = counter.count([variant.record for variant in variants]).whole
        ms = model.predict(workload, precision, request.budget.cameras).ms  # type: ignore[arg-type]
        total = sum(variant.accuracies["held-out"].value for variant in variants)
        found[tuple(variant.name for variant in variants)] = ms, total
    return found


def chosen(plan: Plan) -> tuple[str, ...]:
    assert plan.best is not None
    return tuple(plan.best.variants.values())


@pytest.mark.slow
def test_costs_are_composed_as_they_are_counted(
    request_of: PlanRequest, weights: SourceWeights
) -> None:
    """Forms of one kind share their network; of two kinds, all but the source."""
    tasks = read_candidates(request_of.store).tasks
    counter = GraphCounter(weights, "sm86", compiles=False)
    costs = count_forms(tasks, counter)

    for variants in product(*(task.variants for task in tasks)):
        whole = counter.count([variant.record for variant in variants]).whole
        composed = costs.compose([form_of(variant) for variant in variants])

        assert composed.layers == pytest.approx(whole.layers, abs=2)
        for figure in ("macs", "weights", "values"):
            assert getattr(composed, figure) == pytest.approx(getattr(whole, figure), rel=0.02)


@pytest.mark.parametrize("place", range(4))
def test_the_best_within_a_budget_is_the_best_of_all(
    request_of: PlanRequest, weights: SourceWeights, place: int
) -> None:
    every = every_time(request_of, weights)
    budget_ms = sorted(ms for ms, _ in every.values())[place] * 1.0001
    fitting = {names: total for names, (ms, total) in every.items() if ms <= budget_ms}

    plan = plan_tasks(replace(request_of, budget=Budget(budget_ms)))

    assert plan.best is not None
    assert plan.best.total == pytest.approx(max(fitting.values()))
    assert fitting[chosen(plan)] == max(fitting.values())
    assert plan.best.counted
    assert plan.best.ms == pytest.approx(every[chosen(plan)][0])
    assert (plan.best.said, plan.layers_from) == ("predicted", ESTIMATED)


def test_without_a_budget_there_is_a_frontier(
    request_of: PlanRequest, weights: SourceWeights
) -> None:
    every = every_time(request_of, weights)

    plan = plan_tasks(request_of)

    assert plan.best is None
    found = {tuple(each.variants.values()): each for each in plan.frontier}
    for names, (ms, total) in every.items():
        beaten = any(a <= ms and b >= total and (a, b) != (ms, total) for a, b in every.values())
        assert (names in found) != beaten
    for names, each in found.items():
        assert (each.ms, each.total) == pytest.approx(every[names])
        errors = [it.error for it in each.accuracies.values() if it.error is not None]
        assert each.error == pytest.approx(math.sqrt(sum(error**2 for error in errors)))


def test_a_batch_takes_longer_and_less_for_each_picture(request_of: PlanRequest) -> None:
    one = plan_tasks(request_of).frontier[0]
    four = plan_tasks(replace(request_of, budget=Budget.of(None, 30, 4))).frontier[0]

    assert one.ms < four.ms < 4 * one.ms


def test_what_no_graph_is_made_for_stays_composed(request_of: PlanRequest) -> None:
    plan = plan_tasks(replace(request_of, graphs=0))

    assert not any(each.counted for each in plan.frontier)
    assert plan.composed_error is None


def test_nothing_fits(request_of: PlanRequest) -> None:
    with pytest.raises(PlanError) as caught:
        plan_tasks(replace(request_of, budget=Budget(0.01)))

    message = str(caught.value)
    assert message.startswith("Nothing fits into 0.01 ms. The fastest combination is food by food-")
    assert "ms predicted, which is" in message
    assert "too long" in message


def gates(four: dict[str, TaskRecord], folder: Path, **top1: float) -> tuple[Path, ...]:
    """Write an INT8 graph and its report for each of these variants."""
    paths = []
    for name, value in top1.items():
        variant = name.replace("_", "-")
        path = folder / f"{variant}.int8.onnx"
        write_graph(path, [four[variant]], "int8", ORIGIN.graph_sha256)
        before = four[variant].metrics["accuracy"]
        write_report(path, score(variant, before), score(variant, value))
        paths.append(path)
    return tuple(paths)


def test_int8_is_another_choice(
    request_of: PlanRequest, four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    """INT8 is faster, so that the best in fp16 by a little does not fit and INT8 does."""
    both = gates(four, tmp_path, food_snow=0.895, mood_snow=0.81, mood_readout=0.5)
    slow = plan_tasks(request_of).frontier[-1].ms

    plan = plan_tasks(replace(request_of, gates=both, budget=Budget(slow * 0.95)))

    assert (chosen(plan), plan.best and plan.best.precision) == (("food-snow", "mood-snow"), "int8")
    assert plan.best is not None
    assert plan.best.total == pytest.approx(0.895 + 0.81)
    assert [list(map(bool, row)) for row in plan.accuracies["int8"]] == [
        [False, True],
        [True, True],
    ]
    wide = plan_tasks(replace(request_of, gates=both, budget=Budget(100)))
    assert wide.best is not None
    assert wide.best.precision == "fp16"
    assert (
        plan_tasks(replace(request_of, gates=both, precision="int8")).frontier[0].precision
        == "int8"
    )


def test_an_undecided_gate_is_told(
    request_of: PlanRequest, four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    paths = gates(four, tmp_path, food_snow=0.9, mood_snow=0.8)
    report = tmp_path / "food-snow.int8.report.json"
    document = json.loads(report.read_text())
    document["verdicts"] = [{"task": "food-snow", "outcome": "undecided"}]
    report.write_text(json.dumps(document))

    (note,) = plan_tasks(replace(request_of, gates=paths)).notes

    assert "is undecided about food-snow: INT8 may lose too much" in note


def test_int8_needs_a_variant_of_each_task(
    request_of: PlanRequest, four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    one = gates(four, tmp_path, food_snow=0.9)

    plan = plan_tasks(replace(request_of, gates=one))

    assert list(plan.accuracies) == ["fp16"]
    assert any(
        note.startswith("no int8: no gate has judged a variant of mood") for note in plan.notes
    )
    with pytest.raises(PlanError, match="nothing is left to plan: no int8"):
        plan_tasks(replace(request_of, gates=one, precision="int8"))


def test_why_there_is_no_int8(
    request_of: PlanRequest, four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    judged = gates(four, tmp_path, food_readout=0.85, mood_readout=0.8)
    readouts = ("food=food-readout", "mood=mood-readout")
    folds = replace(request_of, gates=judged, tasks=readouts, basis="cross-validated")
    old = replace(request_of, gates=judged, device=DEVICES["tx2"], graphs=0, compiles=False)

    deltas = [four["food-snow"], four["mood-snow"]]
    file = write_bench(tmp_path / "bench.json", [contender(deltas, 9.0, precision="fp32")])
    measured = replace(request_of, gates=judged, device=None, measurements=(file,))
    (by_times,) = (note for note in plan_tasks(measured).notes if "int8" in note)
    assert by_times == "no int8: none was measured in it"
    (by_folds,) = (note for note in plan_tasks(folds).notes if "int8" in note)
    (by_device,) = (note for note in plan_tasks(old).notes if "int8" in note)

    assert by_folds.startswith("no int8: gates judge on held-out pictures alone")
    assert by_device == "no int8: the Jetson TX2 does not compute in it"


def test_a_measured_time_without_an_accuracy_is_of_no_use(
    request_of: PlanRequest, four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    """INT8 of two deltas was measured, and a gate has judged other variants."""
    judged = gates(four, tmp_path, food_readout=0.85, mood_readout=0.8)
    deltas = [four["food-snow"], four["mood-snow"]]
    file = write_bench(tmp_path / "bench.json", [contender(deltas, 0.001, precision="int8")])

    plan = plan_tasks(replace(request_of, gates=judged, measurements=(file,)))

    assert all(each.said == "predicted" for each in plan.frontier)


def test_a_measured_time_takes_the_place_of_the_predicted(
    request_of: PlanRequest, four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    """Predicted, two deltas are the slowest; measured, they are the fastest and beat all."""
    deltas = [four["food-snow"], four["mood-snow"]]
    file = write_bench(tmp_path / "bench.json", [contender(deltas, 0.001)])

    plan = plan_tasks(replace(request_of, measurements=(file,), budget=Budget(10)))

    assert [tuple(each.variants.values()) for each in plan.frontier] == [("food-snow", "mood-snow")]
    (best,) = plan.frontier
    assert (best.said, best.ms) == ("measured", 0.001)
    assert best.predicted is not None
    assert best.predicted.ms > 0.1
    document = plan_document(plan)["best"]
    assert document["measured_ms"] == 0.001
    assert document["predicted_ms"] == best.predicted.ms
    assert document["measured_by"]["machine"] == "a CPU"
    taken = f"what is measured was measured on a CPU, and is taken for the {DEVICE.title}'s"
    assert taken in plan.notes
    label = draw_plan(plan).axes[0].get_xlabel()
    assert label == "measured time of a picture, ms, measured on a CPU"


def test_a_measured_time_also_makes_room_for_others(
    request_of: PlanRequest, four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    """What seemed to fit takes longer when it is measured; the next best is taken."""
    before = plan_tasks(request_of).frontier
    budget = Budget(before[-1].ms * 1.01)
    deltas = [four["food-snow"], four["mood-snow"]]
    file = write_bench(tmp_path / "bench.json", [contender(deltas, 50.0)])

    plan = plan_tasks(replace(request_of, measurements=(file,), budget=budget))

    assert chosen(plan) != ("food-snow", "mood-snow")
    assert plan.best is not None
    assert plan.best.said == "predicted"
    assert [each.said for each in plan.frontier][-1] == "measured"


def test_without_a_device_only_what_was_measured_counts(
    store: Store, four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    deltas = [four["food-snow"], four["mood-snow"]]
    readouts = [four["food-readout"], four["mood-readout"]]
    file = write_bench(
        tmp_path / "bench.json",
        [
            contender(deltas, 9.0, precision="fp32"),
            contender(readouts, 6.0, precision="fp32"),
            contender(readouts, 7.0),
        ],
    )
    request = PlanRequest(store=store.root, measurements=(file,), budget=Budget(8))

    plan = plan_tasks(request)

    assert [(each.ms, each.precision, each.said) for each in plan.frontier] == [
        (6.0, "fp32", "measured"),
        (9.0, "fp32", "measured"),
    ]
    assert chosen(plan) == ("food-readout", "mood-readout")
    assert plan.best is not None
    assert (plan.best.predicted, plan.best.workload, plan.layers_from) == (None, None, None)
    assert plan_document(plan)["best"]["predicted_ms"] is None


def test_nothing_to_tell_a_time_by(
    store: Store, four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match="there is nothing to tell a time by"):
        PlanRequest(store=store.root)
    file = write_bench(tmp_path / "bench.json", [contender([four["food-snow"]], 1.0)])
    with pytest.raises(PlanError, match="No combination of the variants was measured"):
        plan_tasks(PlanRequest(store=store.root, measurements=(file,)))
    old = {"name": "old", "stages": {"inference": {"p50_ms": 1.0}}}
    for contenders, why in (([], "the files hold none"), ([old], "old was measured by an older")):
        write_bench(tmp_path / "bench.json", contenders)
        with pytest.raises(PlanError, match=f"no measurement can be used .*{why}"):
            plan_tasks(PlanRequest(store=store.root, measurements=(file,)))


def test_networks_that_do_not_read_the_source_do_without_it(
    add: AddVariant, store: Store, weights: SourceWeights
) -> None:
    """Fine-tuned networks stand by themselves: one less, and nothing of the source is left."""
    add("food-whole", 0.95, "ft")
    add("food-snow", 0.9)
    tasks = read_candidates(store.root).tasks
    counter = GraphCounter(weights, "sm86", compiles=False)

    costs = count_forms(tasks, counter)

    whole = {variant.name: costs.compose([form_of(variant)]) for variant in tasks[0].variants}
    assert whole["food-whole"].macs < whole["food-snow"].macs
    assert whole["food-whole"].layers == counter.count([tasks[0].variants[1].record]).whole.layers
    assert sorted(cost.source.layers > 0 for cost in costs.forms.values()) == [False, True]


def test_the_source_is_run_as_far_as_it_is_read(
    add: AddVariant, store: Store, weights: SourceWeights
) -> None:
    """Feature extraction ends at the third stage; beside a delta, all stages run."""
    add("food", 0.95, "fe")
    add("mood", 0.9, task="mood")
    tasks = read_candidates(store.root).tasks
    counter = GraphCounter(weights, "sm86", compiles=False)
    costs = count_forms(tasks, counter)
    forms = [form_of(task.variants[0]) for task in tasks]
    records = [task.variants[0].record for task in tasks]

    for names, some in (([forms[0]], records[:1]), (forms, records)):
        composed, whole = costs.compose(names), counter.count(some).whole
        assert composed.macs == pytest.approx(whole.macs, rel=0.02)
        assert composed.layers == pytest.approx(whole.layers, rel=0.05)

    space = costs.space([[form] for form in forms], [[0.9], [0.8]], lambda it: it.macs)
    assert space.ms((0, 0)) == pytest.approx(costs.compose(forms).macs)
    alone = costs.space([forms], [[0.9, 0.8]], lambda it: it.macs)
    assert alone.ms((0,)) == pytest.approx(costs.compose(forms[:1]).macs)
    assert alone.ms((1,)) == pytest.approx(costs.compose(forms[1:]).macs)


def test_two_forms_of_deltas_are_two_networks(
    add: AddVariant, store: Store, weights: SourceWeights
) -> None:
    add("food", 0.9, width=16)
    add("mood", 0.8, task="mood")
    tasks = read_candidates(store.root).tasks
    counter = GraphCounter(weights, "sm86", compiles=False)

    costs = count_forms(tasks, counter)

    whole = counter.count([task.variants[0].record for task in tasks]).whole
    composed = costs.compose([form_of(task.variants[0]) for task in tasks])
    assert len(costs.forms) == 2
    assert composed.layers == pytest.approx(whole.layers, rel=0.05)
    assert composed.macs == pytest.approx(whole.macs, rel=0.02)


@pytest.mark.tensorrt
def test_layers_are_compiled_where_that_can_be(
    four: dict[str, TaskRecord], weights: SourceWeights
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    counter = GraphCounter(weights, "sm86")

    found = _COUNT(counter, [four["food-snow"], four["mood-readout"]])

    assert counter.layers_from.startswith("compiled by TensorRT-RTX")
    guessed = _COUNT(
        GraphCounter(weights, "sm86", compiles=False), [four["food-snow"], four["mood-readout"]]
    )
    assert found.whole.layers == pytest.approx(guessed.whole.layers, abs=4)
    assert found.source.layers == pytest.approx(guessed.source.layers, abs=4)
    assert replace(found.whole, layers=0) == replace(guessed.whole, layers=0)
