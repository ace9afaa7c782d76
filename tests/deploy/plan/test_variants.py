"""Which stored tasks are variants of one, and which are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from snow_deploy.errors import PlanError, StoreError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.plan.variants import TaskVariant, read_candidates
from snow_deploy.training.options import recipe_for
from snow_deploy.training.store import Store
from snow_runtime.graph.data_entry import SplitEntry
from snow_runtime.graph.manifest import Preprocessing
from tests.deploy.plan.conftest import PICTURES, digest

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.task_record import TaskRecord
    from tests.conftest import RandomWeights
    from tests.deploy.plan.conftest import AddVariant


def names(root: Path, *given: str) -> dict[str, list[str]]:
    found = read_candidates(root, given)
    return {task.name: [variant.name for variant in task.variants] for task in found.tasks}


def test_tasks_of_the_same_pictures_and_labels_are_one(
    four: dict[str, TaskRecord], store: Store
) -> None:
    assert list(four) == list(store.tasks())
    assert names(store.root) == {
        "food": ["food-readout", "food-snow"],
        "mood": ["mood-readout", "mood-snow"],
    }


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        (["food", "food-shallow"], "food"),
        (["food-k4", "food-k8"], "food"),
        (["food_a-1", "food_a-2"], "food_a"),
        (["apples", "apricots"], "apples"),
        (["meal"], "meal"),
    ],
)
def test_a_task_is_called_by_what_its_variants_share(
    add: AddVariant, store: Store, stored: list[str], name: str
) -> None:
    for number, each in enumerate(stored):
        add(each, 0.5 + number / 10)

    assert list(names(store.root)) == [name]


def test_two_tasks_never_share_a_name(add: AddVariant, store: Store) -> None:
    add("set-a", 0.5)
    add("set-b", 0.5)
    add("set", 0.5, task="mood")

    assert names(store.root) == {"set": ["set"], "set-a": ["set-a", "set-b"]}


def test_tasks_and_variants_are_named(four: dict[str, TaskRecord], store: Store) -> None:
    found = names(store.root, "meal=food-snow,food-readout", "mood-snow")

    assert len(four) == 4
    assert found == {"meal": ["food-snow", "food-readout"], "mood-snow": ["mood-snow"]}


def test_variants_may_lie_in_several_stores(
    add: AddVariant, store: Store, weights: SourceWeights, tmp_path: Path
) -> None:
    record = add("food", 0.9)
    other = Store(tmp_path / "other")
    other.put_source(weights)
    other.save_task(replace(record, metrics={"accuracy": 0.7}))

    found = names(store.root, f"food=food,{other.root}/food")

    assert found == {"food": ["food", f"{other.root}/food"]}


def test_forms_are_said_in_words(four: dict[str, TaskRecord], store: Store) -> None:
    found = read_candidates(store.root, ["food=food-readout,food-snow"])

    assert len(four) == 4
    assert [it.form for it in found.tasks[0].variants] == ["readout", "snow, width 1/8, k 1/8"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["food=food-snow", "food=food-readout"], "the task 'food' is named twice"),
        (["food=food-snow,food-snow"], "the variant 'food-snow' is named twice"),
        (["food=food-snow", "meal=food-snow"], "the variant 'food-snow' is named twice"),
        (["Food=food-snow"], "--task Food=food-snow is not understood"),
        (["food="], "--task food= is not understood"),
        (["food=food-snow,"], "is not understood"),
        (["food=food-snow,mood-snow"], "'food-snow' and 'mood-snow' are no variants of one task"),
    ],
)
def test_what_is_refused(
    four: dict[str, TaskRecord], store: Store, given: list[str], message: str
) -> None:
    assert len(four) == 4
    with pytest.raises(PlanError, match=message):
        read_candidates(store.root, given)


def test_a_variant_that_is_not_there_is_refused(add: AddVariant, store: Store) -> None:
    add("food", 0.9)
    with pytest.raises(StoreError, match="has no task 'fodd'"):
        read_candidates(store.root, ["food=food,fodd"])


def test_an_empty_store_is_refused(store: Store) -> None:
    with pytest.raises(PlanError, match="has no tasks to plan"):
        read_candidates(store.root)


def test_accuracies_on_other_pictures_are_not_compared(add: AddVariant, store: Store) -> None:
    record = add("food-a", 0.9)
    splits = {**record.splits, "test": SplitEntry(digest("others"), PICTURES)}
    store.save_task(replace(record, name="food-b", splits=splits, data_sha256=digest("b")))

    with pytest.raises(PlanError, match="cannot be compared: they were measured on other pictures"):
        read_candidates(store.root, ["food=food-a,food-b"])
    with pytest.raises(PlanError, match="may be one task or several"):
        read_candidates(store.root)


def test_cross_validated_accuracies_are_of_the_training_pictures(
    add: AddVariant, store: Store
) -> None:
    record = add("food-a", 0.9, "readout")
    splits = {**record.splits, "train": SplitEntry(digest("others"), 10)}
    store.save_task(replace(record, name="food-b", splits=splits))

    assert read_candidates(store.root, ["food=food-a,food-b"]).notes == ()
    with pytest.raises(PlanError, match="measured on other pictures"):
        read_candidates(store.root, ["food=food-a,food-b"], "cross-validated")


def test_a_delta_is_not_cross_validated(four: dict[str, TaskRecord], store: Store) -> None:
    assert len(four) == 4
    with pytest.raises(PlanError, match="'food-snow' has no cross-validated accuracy on file"):
        read_candidates(store.root, basis="cross-validated")


def test_nor_are_tasks_of_several_labels(add: AddVariant, store: Store) -> None:
    record = replace(add("food-readout", 0.8, "readout"), answers="several")
    store.save_task(replace(record, metrics={**record.metrics, "exact_match": 0.5}))
    with pytest.raises(PlanError, match="of several labels held-out accuracies alone compare"):
        read_candidates(store.root, basis="cross-validated")


def test_what_is_not_noted_is_told(add: AddVariant, store: Store) -> None:
    record = add("food-a", 0.9)
    store.save_task(replace(record, name="food-b", splits={}, data_sha256=""))

    found = read_candidates(store.root, ["food=food-a,food-b"])

    (note,) = found.notes
    assert note.startswith("food: which pictures food-b was measured on is not noted")


def test_other_sources_are_refused(
    add: AddVariant, store: Store, random_weights: RandomWeights, tmp_path: Path
) -> None:
    record = add("food", 0.9)
    weights = random_weights("resnet18", seed=5)
    other = Store(tmp_path / "other")
    other.put_source(weights)
    other.save_task(replace(record, source_sha256=weights.fingerprint()))

    with pytest.raises(PlanError, match="one graph has one source"):
        read_candidates(store.root, [f"food=food,{other.root}/food"])


def test_other_sizes_of_pictures_are_refused(add: AddVariant, store: Store) -> None:
    record = add("food-a", 0.9)
    store.save_task(replace(record, name="food-b", preprocessing=Preprocessing.for_size(64)))

    with pytest.raises(PlanError, match="read pictures of 32 and 64 pixels"):
        read_candidates(store.root, ["food=food-a,food-b"])


def test_forms_of_smaller_deltas_are_told_apart(add: AddVariant) -> None:
    record = add("food", 0.8)

    def form(**shape: Any) -> str:
        options = replace(record.options, delta=DeltaOptions(**shape), recipe=recipe_for("steady"))
        return TaskVariant("food", replace(record, options=options), {}).form

    assert form() == "snow, width 1/8, k 1/8"
    assert form(blocks=1) == "snow, width 1/8, k 1/8, blocks 1"
    assert form(subscription="conv1x1") == "snow, width 1/8, k 1/8, by conv1x1"
    assert form(subscription="all") == "snow, width 1/8, by all"
    stage = replace(record.options, scheme="fe", delta=DeltaOptions(width_divisor=4))
    assert TaskVariant("food", replace(record, options=stage), {}).form == "fe, width 1/4"
    both = form(width_divisor=4, from_stage=2, classifier_reads="taps")
    assert both == "snow, width 1/4, k 1/8, from stage 2, reads taps"
