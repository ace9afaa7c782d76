"""Runs of the comparison schemes, from data to a stored task and back."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from snow_deploy.data import open_data
from snow_deploy.errors import StoreError, TrainingError
from snow_deploy.models.source import Source
from snow_deploy.training.measure import measure
from snow_deploy.training.options import TrainOptions, recipe_for
from snow_deploy.training.run import RunSettings, train_task
from snow_deploy.training.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.network import Scheme
    from tests.conftest import RandomWeights

PLAIN = RunSettings(workers=0, baseline=False)


@pytest.fixture
def store(tmp_path: Path, random_weights: RandomWeights) -> Store:
    """Give a store with the smallest of sources and no task yet."""
    fresh = Store(tmp_path / "store")
    fresh.put_source(random_weights("mnasnet0_5"))
    return fresh


def pictures(question: str = "shape") -> Splits:
    return open_data(f"demo:{question}?train=16&test=6&size=32")


def as_scheme(scheme: Scheme, **others: Any) -> TrainOptions:
    recipe = recipe_for("steady", scheme, follows="after" in others)
    form: dict[str, Any] = {"epochs": 1, "batch_size": 8, "image_size": 32, "precision": "fp32"}
    return TrainOptions(recipe=recipe, scheme=scheme, **{**form, **others})


@pytest.mark.parametrize(
    "scheme", ["fo", *(pytest.param(each, marks=pytest.mark.slow) for each in ("ft", "mp", "pn"))]
)
def test_what_is_trained_comes_back_from_the_store(store: Store, scheme: Scheme) -> None:
    options = as_scheme(scheme)

    trained = train_task(store, "shape", pictures(), options, PLAIN)

    record = store.load_task("shape")
    source = Source(store.source_weights())
    network = record.build(source)
    assert record.options == options
    assert record.metrics["parameters"] == network.count_parameters()
    assert all(torch.equal(value, trained.state[key]) for key, value in record.state.items())
    assert not network.training
    answering = _Answering(network, source)
    found, _ = measure(answering, pictures().final[1], record.preprocessing, workers=0)
    assert found.accuracy == record.metrics["accuracy"]
    assert found.accuracy_top5 == record.metrics["accuracy_top5"]


class _Answering(torch.nn.Module):
    """A task's network with the source, as `measure` runs it."""

    def __init__(self, network: Any, source: Source) -> None:
        super().__init__()
        self.network, self.source = network, source

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        logits: torch.Tensor = self.network(images, self.source(images))
        return logits


def test_the_source_is_not_run_for_those_that_do_not_read_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any) -> None:
        pytest.fail("the source was run")

    for way in ("forward", "stream"):
        monkeypatch.setattr(Source, way, run)
    options = replace(as_scheme("ft"), recipe=recipe_for("paper", "ft"))

    train_task(store, "shape", pictures(), options, PLAIN)

    assert store.load_task("shape").options.scheme == "ft"


@pytest.mark.slow
def test_fine_tuning_begins_as_a_source_whose_norms_are_folded(
    tmp_path: Path, random_weights: RandomWeights
) -> None:
    """At no learning rate the training leaves the features as they were."""
    weights = random_weights("mnasnet0_5")
    plain = {"running_mean": 0.0, "running_var": 1.0, "weight": 1.0}
    norms = {key.rpartition(".")[0] for key in weights.state if key.endswith("running_var")}
    state = dict(weights.state)
    for name, (leaf, value) in itertools.product(norms, plain.items()):
        state[f"{name}.{leaf}"] = torch.full_like(state[f"{name}.{leaf}"], value)
    store = Store(tmp_path / "store")
    store.put_source(replace(weights, state=state))
    options = as_scheme("ft")
    options = replace(options, recipe=replace(options.recipe, lr=1e-12))

    record = train_task(store, "shape", pictures(), options, PLAIN)

    source = Source(store.source_weights())
    tuned = record.build(source).get_submodule("network")
    images = torch.stack([picture.float() for picture in record.samples]).permute(0, 3, 1, 2)
    images = (images / 255 - 0.45) / 0.22
    scale = tuned.get_parameter("layers.1.weight")
    assert not torch.allclose(scale, torch.ones_like(scale), rtol=0.01)  # was one, then unfolded
    with torch.no_grad():
        seen, expected = tuned(images), source(images)["head"]
    assert nn.functional.cosine_similarity(seen, expected).min() > 0.98


@pytest.mark.slow
def test_learning_without_forgetting_from_task_to_task(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_task(store, "shape", pictures(), as_scheme("lf"), PLAIN)
    options = as_scheme("lf", after="shape", epochs=2)

    second = train_task(store, "digit", pictures("digit"), options, PLAIN)

    record = store.load_task("digit")
    assert record.previous_tasks == second.previous_tasks == {"shape": first.labels}
    source = Source(store.source_weights())
    older = record.build_older(source, "shape")
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pooled = record.build(source).get_submodule("network")(images)
        seen = older(images, {})
    (weight,) = (record.state[key] for key in record.state if re.match(r"older\.0.*weight", key))
    (bias,) = (record.state[key] for key in record.state if re.match(r"older\.0.*bias", key))
    torch.testing.assert_close(seen, pooled @ weight.T + bias)
    assert seen.shape == (6, 6)  # the shapes' classes, not the digits'
    moved = older.state_dict()["network.layers.0.weight"]
    assert not torch.equal(moved, first.state["network.layers.0.weight"])
    with pytest.raises(StoreError, match=r"has not learned a task 'food' before \(it has learned:"):
        record.build_older(source, "food")

    _interrupt_after_an_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train_task(store, "digit", pictures("digit"), options, replace(PLAIN, overwrite=True))
    monkeypatch.undo()
    resumed = train_task(store, "digit", pictures("digit"), options, replace(PLAIN, resume=True))
    assert all(torch.equal(value, second.state[key]) for key, value in resumed.state.items())


def _interrupt_after_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    from snow_deploy.training.module import TaskModule

    start = TaskModule.on_train_epoch_start

    def stop(module: TaskModule) -> None:
        if module.current_epoch == 1:
            raise KeyboardInterrupt
        start(module)

    monkeypatch.setattr(TaskModule, "on_train_epoch_start", stop)


def test_a_task_that_cannot_be_gone_on_from(trained_store: Store) -> None:
    options = as_scheme("lf", after="shape")

    with pytest.raises(TrainingError, match="task 'shape' is of the scheme snow at 64 pixels"):
        train_task(trained_store, "new", pictures("digit"), options, PLAIN)
    with pytest.raises(StoreError, match="has no task 'none'"):
        train_task(trained_store, "new", pictures("digit"), replace(options, after="none"), PLAIN)
