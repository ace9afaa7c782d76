"""Several tasks on one pass of the source: each as if it were alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from snow_deploy.data import hold_out, open_data
from snow_deploy.errors import DataError, ResumeError, TrainingError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.training import linear_probe, probes
from snow_deploy.training.module import TaskModule
from snow_deploy.training.options import Recipe
from snow_deploy.training.outcome import TrainingOutcome
from snow_deploy.training.run import RunSettings, train_tasks
from snow_deploy.training.store import Store
from snow_deploy.training.task_requests import TaskRequest, check_together
from tests.conftest import copy_store

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.task_record import TaskRecord
    from tests.conftest import OpenDemo

PLAIN = RunSettings(workers=0, baseline=False)


@pytest.fixture
def requests(open_demo: OpenDemo, short: TrainOptions) -> list[TaskRequest]:
    """Ask for the two tasks of `trained_store`, and one of another shape between them."""
    wide = replace(short, delta=DeltaOptions(k_divisor=4, width_divisor=16, sigma2=0.1))
    return [
        TaskRequest("shape", open_demo("shape"), short),
        TaskRequest("wide", open_demo("shape"), wide),
        TaskRequest("digit", open_demo("digit"), short),
    ]


def check_same(found: TaskRecord, alone: TaskRecord) -> None:
    assert found.labels == alone.labels
    for key, value in alone.state.items():
        torch.testing.assert_close(found.state[key], value, rtol=1e-5, atol=1e-6)
    timeless = found.metrics.keys() - {"images_per_s"}
    for key in timeless:
        assert found.metrics[key] == pytest.approx(alone.metrics[key], rel=1e-4), key


def curve(store: Store, name: str) -> list[str]:
    """Read the curve but for the two columns that the clock writes."""
    lines = (store.run_path(name) / "curve.csv").read_text().splitlines()
    return [",".join(line.split(",")[:6]) for line in lines]


def test_each_task_ends_as_if_it_were_alone(
    store: Store, trained_store: Store, requests: list[TaskRequest]
) -> None:
    outcome = train_tasks(store, requests, PLAIN)

    assert [record.name for record in outcome.records] == ["shape", "wide", "digit"]
    assert outcome.failures == {}
    assert store.tasks() == ("digit", "shape", "wide")
    for name in ("shape", "digit"):
        check_same(store.load_task(name), trained_store.load_task(name))
        assert curve(store, name) == curve(trained_store, name)
        left = {path.name for path in store.run_path(name).iterdir()}
        arrays = {"answers.npz", "selections.npz"}
        assert left == {*arrays, "curve.csv", "reliability.json", "run.json", "tensorboard"}
    assert not list((store.root / "sweeps").iterdir())


def test_the_source_runs_once_a_batch(
    store: Store, requests: list[TaskRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    forward = Source.forward

    def counted(self: Source, images: torch.Tensor) -> dict[str, torch.Tensor]:
        passes.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(Source, "forward", counted)
    once = [replace(each, options=replace(each.options, epochs=1)) for each in requests]

    train_tasks(store, once, PLAIN)

    assert passes == [16, 16, 16, 16, 4, 20]  # training, evaluation, the final measurement


def test_an_interrupted_sweep_goes_on(
    store: Store,
    trained_store: Store,
    requests: list[TaskRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = TaskModule.training_step

    def interrupted(self: TaskModule, batch: Any, index: int) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        step(self, batch, index)

    both = [requests[0], requests[2]]
    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt, match="same command and --resume"):
            train_tasks(store, both, PLAIN)
    with pytest.raises(TrainingError, match=r"a sweep of shape, digit .*was interrupted"):
        train_tasks(store, both, PLAIN)

    train_tasks(store, both, replace(PLAIN, resume=True))

    for name in ("shape", "digit"):
        check_same(store.load_task(name), trained_store.load_task(name))
        assert curve(store, name) == curve(trained_store, name)
    with pytest.raises(TrainingError, match="no unfinished sweep of shape, digit"):
        train_tasks(store, both, replace(PLAIN, resume=True))


def test_a_task_that_was_there_when_a_sweep_began_must_still_be(
    tmp_path: Path,
    trained_store: Store,
    requests: list[TaskRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Deleted, or trained otherwise since, it is not called trained already."""
    store = copy_store(trained_store, tmp_path / "store")
    store.task_path("digit").unlink()
    both = [requests[0], requests[2]]
    step = TaskModule.training_step

    def interrupted(self: TaskModule, batch: Any, index: int) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_tasks(store, both, PLAIN)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ResumeError, match="had 1 processes, and this one has 4"):
        train_tasks(store, both, replace(PLAIN, resume=True))
    monkeypatch.delenv("WORLD_SIZE")
    store.task_path("shape").unlink()

    with pytest.raises(ResumeError, match="had the task 'shape' when the sweep was interrupted"):
        train_tasks(store, both, replace(PLAIN, resume=True))


def test_tasks_of_the_same_data_share_what_is_kept_for_tuning(
    store: Store, requests: list[TaskRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a linear classifier would be fitted for each of them."""
    monkeypatch.setattr(hold_out, "FEWEST_TO_TUNE", 1)
    accuracies: list[int] = []
    measure = linear_probe.linear_probe_accuracy

    def measured(*given: Any, **how: Any) -> Any:
        accuracies.append(1)
        return measure(*given, **how)

    monkeypatch.setattr(probes, "linear_probe_accuracy", measured)
    same = [
        replace(
            requests[0],
            name=name,
            options=replace(
                requests[0].options, epochs=1, hold_out=0.2, delta=DeltaOptions(k_divisor=k)
            ),
        )
        for name, k in (("one", 8), ("two", 4))
    ]

    outcome = train_tasks(store, same, replace(PLAIN, baseline=True))

    assert len(outcome.records) == 2
    assert len(accuracies) == 1


def test_tasks_that_are_there_are_skipped(
    tmp_path: Path, trained_store: Store, requests: list[TaskRequest]
) -> None:
    store = copy_store(trained_store, tmp_path / "store")
    before = store.task_path("shape").read_bytes()

    outcome = train_tasks(store, [requests[0], requests[2]], PLAIN)

    assert outcome == TrainingOutcome((), ("shape", "digit"), {})
    assert store.task_path("shape").read_bytes() == before


def test_a_task_that_was_trained_otherwise_is_not_skipped(
    trained_store: Store, requests: list[TaskRequest]
) -> None:
    other = replace(requests[0], options=requests[1].options)

    with pytest.raises(TrainingError, match=r"'shape' that was trained otherwise \(k: 8 != 4"):
        train_tasks(trained_store, [other, requests[2]], PLAIN)


def test_a_diverging_task_leaves_the_others_alone(
    store: Store, trained_store: Store, requests: list[TaskRequest]
) -> None:
    hopeless = replace(requests[1].options, recipe=Recipe(lr=1e30))
    asked = [replace(requests[1], options=hopeless), requests[0]]

    outcome = train_tasks(store, asked, PLAIN)

    assert list(outcome.failures) == ["wide"]
    assert "the loss became" in outcome.failures["wide"]
    assert store.tasks() == ("shape",)
    check_same(store.load_task("shape"), trained_store.load_task("shape"))


def test_no_task_is_left(store: Store, requests: list[TaskRequest]) -> None:
    hopeless = replace(requests[0].options, recipe=Recipe(lr=1e30))
    asked = [replace(each, options=hopeless) for each in requests[::2]]

    with pytest.raises(TrainingError, match=r"no task is left .*shape: the loss .*digit: the loss"):
        train_tasks(store, asked, PLAIN)

    assert store.tasks() == ()


@pytest.mark.slow
def test_schemes_that_do_not_read_the_source_train_beside_those_that_do(
    store: Store, requests: list[TaskRequest]
) -> None:
    once = replace(requests[0].options, epochs=1, recipe=Recipe(lr=0.01))
    schemes: list[Any] = ["fo", "ft"]
    asked = [replace(requests[0], name=s, options=replace(once, scheme=s)) for s in schemes]

    train_tasks(store, asked, PLAIN)
    alone = Store(store.root.parent / "alone")
    alone.put_source(store.source_weights())
    for request in asked:
        check_same(store.load_task(request.name), train_tasks(alone, [request], PLAIN).records[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 8}, r"--batch-size is 16 for one and 8 for the other"),
        ({"image_size": 96}, r"--image-size is 64 for one and 96"),
        ({"seed": 3}, r"--seed is 0 for one and 3"),
        ({"recipe": Recipe(smallest_crop=0.5)}, r"--smallest-crop is 0.25 for one and 0.5"),
    ],
)
def test_options_that_change_the_batches(
    requests: list[TaskRequest], changed: dict[str, Any], message: str
) -> None:
    first, other = requests[0], requests[1]
    asked = [first, replace(other, options=replace(first.options, **changed))]

    with pytest.raises(TrainingError, match=message):
        check_together(asked)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("demo:digit?train=40&test=20&size=64", "in train they have 48 and 40"),
        ("demo:digit?train=48&test=9&size=64", "in test they have 20 and 9"),
        ("demo:digit?train=48&test=20&size=64&seed=1", "in train number 0 is demo-train-seed0-64"),
        ("demo:digit?train=48&test=20&size=32", "in train number 0 is demo-train-seed0-64px/0 and"),
    ],
)
def test_other_pictures(requests: list[TaskRequest], data: str, message: str) -> None:
    asked = [requests[0], replace(requests[2], splits=open_data(data))]

    with pytest.raises(
        DataError, match=f"shape and digit do not have the same pictures: {message}"
    ):
        check_together(asked)


def test_two_tasks_of_one_name(requests: list[TaskRequest]) -> None:
    with pytest.raises(TrainingError, match="both called shape"):
        check_together([requests[0], requests[0]])
