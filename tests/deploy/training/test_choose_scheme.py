"""A readout or a delta: what the choice rests on, what is stored, and what is never looked at."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from snow_deploy.data import open_data
from snow_deploy.data.hold_out import part_of
from snow_deploy.errors import DivergedError, ResumeError, TrainingError
from snow_deploy.models.source import Source
from snow_deploy.training import choose_scheme, delta_trial
from snow_deploy.training.answers import Answers
from snow_deploy.training.choose_scheme import SchemeRequest, train_chosen
from snow_deploy.training.feature_cache import FeatureCache
from snow_deploy.training.fit_readouts import fit_tasks
from snow_deploy.training.multilabel_answers import MultiLabelAnswers
from snow_deploy.training.options import TrainOptions, recipe_for
from snow_deploy.training.readout_options import ReadoutOptions
from snow_deploy.training.run import RunSettings, train_task
from snow_deploy.training.store import Store
from snow_deploy.training.task_requests import TaskRequest
from snow_runtime.graph.manifest import Preprocessing
from tests.conftest import copy_store, made_once
from tests.deploy.bright_pictures import bright_pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

    from snow_deploy.data.pictures import Pictures, Splits
    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.task_record import TaskRecord

PLAIN = RunSettings(workers=0, baseline=False)
HARD = "demo:shape?train=72&test=12&size=32"  # the readout errs on half of it
DELTA = TrainOptions(
    recipe=recipe_for("steady"), epochs=1, batch_size=16, image_size=32, precision="fp32"
)
READOUT = replace(
    DELTA,
    scheme="readout",
    recipe=recipe_for("steady", "readout"),
    readout=ReadoutOptions(views=1, features=1920),  # all of them: no ranking is fitted
)


@dataclass
class Looking:
    """Pictures that count how often they are looked at."""

    whole: Pictures
    looks: list[int] = field(default_factory=list)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.whole.labels

    def __len__(self) -> int:
        return len(self.whole)

    def target(self, index: int) -> int:
        self.looks.append(index)
        return self.whole.target(index)

    def name(self, index: int) -> str:
        return self.whole.name(index)

    def load(self, index: int) -> Image.Image:
        self.looks.append(index)
        return self.whole.load(index)


@dataclass
class Chosen:
    """A run of `train_chosen`, and what it said."""

    store: Store
    said: list[str] = field(default_factory=list)

    def train(self, splits: Splits, settings: RunSettings = PLAIN, **changes: Any) -> TaskRecord:
        request = SchemeRequest("door", splits, READOUT, DELTA)
        request = replace(request, **changes)
        outcome = train_chosen(self.store, request, settings, self.said.append)
        (record,) = outcome.records
        stored = self.store.load_task("door")
        assert dict(stored.metrics) == dict(record.metrics)
        assert stored.options == record.options
        return stored


@pytest.fixture(scope="module")
def begun(weights: SourceWeights, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Give a store with the features of `HARD` and no task; a test must not write to it."""

    def look(folder: Path) -> None:
        store = Store(folder)
        store.put_source(weights)
        size = Preprocessing.for_size(32, weights.mean, weights.std)
        splits = open_data(HARD)
        for pictures in (splits.train, splits.final[1]):
            FeatureCache(store, Source(weights), size, workers=0).features(pictures)

    return Store(made_once(tmp_path_factory, "store-with-features", look))


@pytest.fixture
def chosen(tmp_path: Path, begun: Store) -> Chosen:
    return Chosen(copy_store(begun, tmp_path / "store"))


def answers_of(pictures: Pictures, *, right: bool) -> Answers:
    target = np.array([pictures.target(index) for index in range(len(pictures))])
    first = target if right else (target + 1) % len(pictures.labels)
    return Answers(np.arange(len(target)), target, first[:, None])


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch) -> list[Splits]:
    """Put a trial in the place of the real one whose delta is always right; note its data."""
    seen: list[Splits] = []

    def note(
        store: Store, name: str, held: Splits, options: TrainOptions, settings: RunSettings
    ) -> tuple[Answers, float]:
        del store, name, options, settings
        seen.append(held)
        return answers_of(held.final[1], right=True), 1.0

    monkeypatch.setattr(choose_scheme, "try_delta", note)
    return seen


def refused_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        pytest.fail("a delta was tried")

    monkeypatch.setattr(choose_scheme, "try_delta", fail)


def same_weights(one: TaskRecord, two: TaskRecord) -> bool:
    assert one.state.keys() == two.state.keys()
    return all(torch.equal(value, two.state[key]) for key, value in one.state.items())


@pytest.mark.slow
def test_within_chance_the_readout_of_all_training_pictures_is_stored(chosen: Chosen) -> None:
    splits = open_data(HARD)
    test = Looking(splits.final[1])
    looks: list[int] = []
    chosen.said = Said(lambda: looks.append(len(test.looks)))

    record = chosen.train(replace(splits, test=test))

    assert record.options == READOUT
    assert chosen.said[-1] == "that is within chance: the readout is stored"
    assert set(looks) == {0}
    assert test.looks
    metrics = record.metrics
    assert metrics["auto_readout"] == metrics["cross_validated_accuracy"]
    assert metrics["auto_readout_low"] < metrics["auto_readout"] < metrics["auto_readout_high"]
    assert metrics["auto_held_out"] == pytest.approx(14, abs=3)
    assert metrics["auto_gain_low"] <= metrics["auto_gain"] <= metrics["auto_gain_high"]
    difference = metrics["auto_delta"] - metrics["auto_held_out_readout"]
    assert metrics["auto_gain"] == pytest.approx(difference)
    assert sorted(each.name for each in chosen.store.root.iterdir()) == [
        *("features", "runs", "source.safetensors", "tasks")
    ]
    fit_tasks(chosen.store, [TaskRequest("again", splits, READOUT)], PLAIN)
    assert same_weights(record, chosen.store.load_task("again"))
    assert chosen.store.load_task("again").metrics["accuracy"] == metrics["accuracy"]


class Said(list[str]):
    """Lines that tell somebody of each."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, line: str) -> None:
        super().append(line)
        self._tell()


@pytest.mark.slow
def test_a_gain_beyond_chance_trains_the_delta_on_all_training_pictures(
    chosen: Chosen, perfect: list[Splits], tmp_path: Path
) -> None:
    splits = open_data(HARD)

    record = chosen.train(splits)

    assert record.options == DELTA
    assert record.metrics["auto_delta"] == 1
    assert record.metrics["auto_gain_low"] > 0
    assert record.metrics["auto_p"] < 0.05
    assert chosen.said[-1].startswith("that is beyond chance: a delta is trained")
    (held,) = perfect
    train, whole = (
        {part.name(index) for index in range(len(part))} for part in (held.train, splits.train)
    )
    rest = {held.final[1].name(index) for index in range(len(held.final[1]))}
    assert not train & rest
    assert train | rest == whole
    other = Store(tmp_path / "other")
    other.put_source(chosen.store.source_weights())  # which has no features of anything
    assert same_weights(record, train_task(other, "door", splits, DELTA, PLAIN))


@pytest.mark.slow
def test_a_delta_that_is_worse_beyond_chance_is_no_gain(
    chosen: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = lambda *given: (answers_of(given[2].final[1], right=False), 1.0)  # noqa: E731
    monkeypatch.setattr(choose_scheme, "try_delta", wrong)

    record = chosen.train(open_data("demo:colour?train=60&test=16&size=32"))

    assert record.options.scheme == "readout"


@pytest.mark.parametrize(("which", "scheme"), [("never", "readout"), ("always", "snow")])
def test_what_is_told_needs_no_trial(
    chosen: Chosen, monkeypatch: pytest.MonkeyPatch, which: Any, scheme: str
) -> None:
    refused_trial(monkeypatch)

    record = chosen.train(open_data(HARD), which=which)

    assert record.options.scheme == scheme
    assert f"as --delta {which} asks" in chosen.said[-1]
    assert "at most a delta could bring" in chosen.said[1]
    assert "parameters" in chosen.said[2]
    assert "auto_readout" in record.metrics
    assert "auto_delta" not in record.metrics


def test_too_few_errors_need_no_trial(
    chosen: Chosen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused_trial(monkeypatch)
    data = bright_pictures(tmp_path).partition("?")[0] + "?label=kind"

    record = chosen.train(open_data(data))

    assert record.options.scheme == "readout"
    assert "errs on 0 of 10 held-out pictures, and below 6 no gain" in chosen.said[-1]
    assert "--delta always" in chosen.said[-1]


def test_a_class_too_small_to_hold_a_part_out_needs_no_trial(
    chosen: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused_trial(monkeypatch)
    splits = open_data(HARD)
    targets = [splits.train.target(index) for index in range(len(splits.train))]
    first = [index for index, target in enumerate(targets) if target == 0][:2]
    kept = first + [index for index, target in enumerate(targets) if target != 0]

    record = chosen.train(replace(splits, train=part_of(splits.train, kept)))

    assert record.options.scheme == "readout"
    assert "a part of so few pictures cannot be held out" in chosen.said[-1]


def test_a_trial_that_diverges_leaves_the_readout(
    chosen: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        msg = "the loss is nan"
        raise DivergedError(msg, {})

    monkeypatch.setattr(choose_scheme, "try_delta", diverge)

    record = chosen.train(open_data(HARD))

    assert record.options.scheme == "readout"
    assert "the trial came to nothing (the loss is nan)" in chosen.said[-1]


@pytest.mark.slow
def test_several_labels_at_once(chosen: Chosen, tmp_path: Path) -> None:
    splits = open_data(bright_pictures(tmp_path, noise=0.9))

    record = chosen.train(splits)

    assert record.answers == "several"
    assert record.metrics["auto_held_out"] == pytest.approx(10, abs=3)
    assert any("better on" in line for line in chosen.said)


@pytest.mark.parametrize("where", ["trial", "delta"])
def test_an_interrupted_run_stores_nothing(
    chosen: Chosen, monkeypatch: pytest.MonkeyPatch, perfect: list[Splits], where: str
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if where == "trial":
        monkeypatch.setattr(choose_scheme, "try_delta", delta_trial.try_delta)
        monkeypatch.setattr(delta_trial, "train_task", stop)
    else:
        monkeypatch.setattr(choose_scheme, "train_tasks", stop)
    expected = {"trial": "the same command begins again", "delta": "--scheme snow for --scheme"}

    with pytest.raises(KeyboardInterrupt, match=expected[where]):
        chosen.train(open_data(HARD))

    assert len(perfect) == (where == "delta")
    assert not chosen.store.tasks()
    assert not list(chosen.store.root.glob("trial-*"))


def test_what_is_refused_before_any_work(
    chosen: Chosen, monkeypatch: pytest.MonkeyPatch, short: TrainOptions
) -> None:
    splits = open_data(HARD)
    with pytest.raises(ResumeError, match=r"has nothing to go on with: .* --scheme snow"):
        chosen.train(splits, replace(PLAIN, resume=True))
    with monkeypatch.context() as several:
        several.setenv("WORLD_SIZE", "2")
        with pytest.raises(TrainingError, match="runs in one process"):
            chosen.train(splits)
    train_task(chosen.store, "door", open_data("demo:shape?train=32&test=8&size=64"), short, PLAIN)
    with pytest.raises(TrainingError, match=r"already has a task 'door'\. Give --overwrite"):
        chosen.train(splits)
    assert not chosen.said

    record = chosen.train(splits, replace(PLAIN, overwrite=True), which="never")

    assert record.options.scheme == "readout"


def test_a_comparison_counts_pictures() -> None:
    """Against counting by hand, and scipy's exact test."""
    from scipy.stats import binomtest

    rng = np.random.default_rng(3)
    target = rng.integers(0, 3, 90)
    one = Answers(np.arange(90), target, rng.integers(0, 3, (90, 1)))
    better = np.where(rng.random(90) < 0.7, target, 0)
    two = Answers(np.arange(5, 90)[::-1], target[5:][::-1], better[5:][::-1, None])

    found = delta_trial.compare(one, two)

    places = range(5, 90)
    before = [int(one.ranked[place, 0] == target[place]) for place in places]
    now = [int(better[place] == target[place]) for place in places]
    won = sum(a < b for a, b in zip(before, now, strict=True))
    lost = sum(a > b for a, b in zip(before, now, strict=True))
    assert (found.won, found.lost) == (won, lost)
    assert found.p == pytest.approx(binomtest(won, won + lost).pvalue)
    assert found.lead.mean == pytest.approx((won - lost) / 85)
    assert found.is_gain
    assert not delta_trial.compare(two, one).is_gain


def test_of_several_labels_a_picture_is_won_where_more_are_right() -> None:
    present = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], np.bool_)
    sign = np.where(present, 1.0, -1.0).astype(np.float32)
    wrong = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]], np.bool_)
    fewer = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]], np.bool_)
    index = np.arange(4)
    one = MultiLabelAnswers(index, present, np.where(wrong, -sign, sign))
    two = MultiLabelAnswers(index, present, np.where(fewer, -sign, sign))

    found = delta_trial.compare(one, two)

    assert (found.won, found.lost) == (2, 1)
    assert found.readout == pytest.approx(8 / 12)
    assert found.delta == pytest.approx(9 / 12)


def test_six_errors_are_the_fewest_that_can_show_a_gain() -> None:
    assert delta_trial.fewest_to_gain() == 6
