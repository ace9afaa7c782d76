"""Training deltas of other forms than the paper's, from data to a stored task and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from snow_deploy.data import open_data
from snow_deploy.errors import ResumeError, SourceError, TrainingError
from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.stages.inspect_store import inspect_store
from snow_deploy.training.classifier_starts import start_taps
from snow_deploy.training.fit_readouts import fit_tasks
from snow_deploy.training.learner import Learner
from snow_deploy.training.module import TaskModule
from snow_deploy.training.options import TrainOptions, recipe_for
from snow_deploy.training.readout_options import ReadoutOptions
from snow_deploy.training.run import RunSettings, train_task, train_tasks
from snow_deploy.training.store import Store
from snow_deploy.training.task_requests import TaskRequest
from snow_runtime.graph.manifest import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Splits
    from tests.conftest import RandomWeights

PLAIN = RunSettings(workers=0, baseline=False)
TAPS = DeltaOptions(from_stage=4, classifier_reads="taps")
STEADY = recipe_for("steady")


@pytest.fixture
def store(tmp_path: Path, random_weights: RandomWeights) -> Store:
    """Give a store with a small source and no task yet."""
    fresh = Store(tmp_path / "store")
    fresh.put_source(random_weights("mnasnet0_5"))
    return fresh


@pytest.fixture(scope="module")
def splits() -> Splits:
    return open_data("demo:colour?train=40&test=6&size=32")


def form(delta: DeltaOptions, **others: Any) -> TrainOptions:
    usual = {"epochs": 1, "batch_size": 8, "image_size": 32, "precision": "fp32", "recipe": STEADY}
    if delta.classifier_reads == "taps":
        usual["readout"] = ReadoutOptions(views=1, features=30)
    return TrainOptions(delta=delta, **{**usual, **others})


def fit_alone(store: Store, splits: Splits, options: TrainOptions) -> Any:
    request = TaskRequest("fitted", splits, replace(options, scheme="readout"))
    return fit_tasks(store, [request], PLAIN).records[0].build(Source(store.source_weights()))


@pytest.mark.parametrize(
    "delta",
    [DeltaOptions(blocks=1), pytest.param(TAPS, marks=pytest.mark.slow)],
    ids=["first", "taps"],
)
def test_what_is_trained_comes_back_from_the_store(
    store: Store, splits: Splits, delta: DeltaOptions
) -> None:
    trained = train_task(store, "shape", splits, form(delta), PLAIN)

    record = store.load_task("shape")
    network = record.build(Source(store.source_weights()))
    assert record.options == form(delta)
    assert record.metrics["parameters"] == network.count_parameters()
    assert all(torch.equal(value, trained.state[key]) for key, value in record.state.items())
    entry = record.entry_of(network)
    assert (entry.scheme, entry.blocks, entry.from_stage) == (
        "snow",
        delta.blocks,
        delta.from_stage,
    )
    assert bool(entry.tap_selections) == (delta.classifier_reads == "taps")
    assert inspect_store(store.root).tasks == (entry,)


@pytest.mark.slow
def test_a_classifier_begins_as_the_readout_that_is_fitted_alone(
    store: Store, splits: Splits
) -> None:
    """With no rate to speak of it still answers so after an epoch; the cache is shared."""
    options = form(TAPS, recipe=replace(STEADY, lr=1e-12))
    readout = fit_alone(store, splits, options)
    before = {path: path.stat().st_mtime_ns for path in (store.root / "features").rglob("*.npy")}

    network = train_task(store, "shape", splits, options, PLAIN).build(
        source := Source(store.source_weights())
    )

    assert isinstance(network, Delta)
    assert network.tap_readout is not None
    last = source.anatomy.head_channels
    whole = sum(tap.channels for tap in source.anatomy.taps)
    chosen = set(network.tap_readout.index.tolist())
    assert chosen == {*readout.index.tolist(), *range(whole - last, whole)}
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        features = source(images)
        expected = readout(images, features)
        found = network(images, features)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    after = {path: path.stat().st_mtime_ns for path in (store.root / "features").rglob("*.npy")}
    assert before == after


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights(
    store: Store, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = form(TAPS, epochs=2)
    whole = train_task(store, "whole", splits, options, PLAIN)

    begin = TaskModule.on_train_epoch_start

    def stop(self: TaskModule) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        begin(self)

    with monkeypatch.context() as patched:
        patched.setattr(TaskModule, "on_train_epoch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            train_task(store, "shape", splits, options, PLAIN)
    other = replace(options, delta=replace(TAPS, classifier_reads="last"))
    with pytest.raises(ResumeError, match="classifier_reads: taps != None"):
        train_task(store, "shape", splits, other, replace(PLAIN, resume=True))

    found = train_task(store, "shape", splits, options, replace(PLAIN, resume=True))

    for key, value in whole.state.items():
        assert torch.equal(found.state[key], value), key


@pytest.mark.slow
def test_forms_are_trained_on_one_pass_of_the_source(store: Store, splits: Splits) -> None:
    """Each ends as it does alone."""
    shapes = {"taps": TAPS, "first": DeltaOptions(blocks=1)}
    asked = [TaskRequest(name, splits, form(delta)) for name, delta in shapes.items()]

    together = train_tasks(store, asked, PLAIN).records

    alone = train_task(store, "alone", splits, form(TAPS), PLAIN)
    assert all(torch.equal(alone.state[key], value) for key, value in together[0].state.items())


def test_what_cannot_be_trained_is_refused(store: Store, splits: Splits) -> None:
    with pytest.raises(TrainingError, match="--recipe is out of range; expected steady with"):
        form(TAPS, recipe=recipe_for("paper"))
    with pytest.raises(TrainingError, match="--blocks is out of range; expected 1 or more"):
        form(DeltaOptions(blocks=0))
    with pytest.raises(TrainingError, match="--from-stage is out of range"):
        form(DeltaOptions(from_stage=0))
    with pytest.raises(SourceError, match="a mnasnet0_5 has no stage 9"):
        train_task(store, "shape", splits, form(DeltaOptions(from_stage=9)), PLAIN)


@pytest.mark.parametrize("processes", ["2", "1"])
def test_several_processes_do_not_fit_the_same(
    store: Store, splits: Splits, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    source = Source(store.source_weights())
    network = Delta(source, len(splits.labels), TAPS)
    learner = Learner("shape", network, splits, form(TAPS))
    preprocessing = Preprocessing.for_size(32)
    monkeypatch.setenv("WORLD_SIZE", processes)
    if processes == "1":
        start_taps(store, source, preprocessing, [learner], workers=0)
        assert network.tap_readout is not None
        assert network.tap_readout.linear.weight.any()
        return

    with pytest.raises(TrainingError, match="fitted by one process, not by several of torchrun"):
        start_taps(store, source, preprocessing, [learner], workers=0)


def test_options_of_the_paper_s_delta_are_written_as_before() -> None:
    assert not {"blocks", "from_stage"} & set(form(DeltaOptions()).to_dict()["delta"])
    assert "readout" not in form(DeltaOptions()).to_dict()
    for delta in (TAPS, DeltaOptions(blocks=2), DeltaOptions()):
        options = form(delta, readout=ReadoutOptions(features=9 if delta == TAPS else None))
        assert TrainOptions.from_dict(options.to_dict()) == options
