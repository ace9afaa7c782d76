from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from snow_deploy.data import open_data
from snow_deploy.errors import (
    DamagedCheckpointError,
    DataError,
    ResumeError,
    StoreError,
    TrainingError,
)
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.training import linear_probe, probes, run
from snow_deploy.training.answers import read_answers
from snow_deploy.training.module import TaskModule
from snow_deploy.training.options import Recipe
from snow_deploy.training.run import RunSettings, train_task
from snow_deploy.training.store import Store
from snow_deploy.training.task_lock import exclusive
from snow_runtime.errors import SnowError
from snow_runtime.pictures import remarks
from snow_runtime.pictures.preprocessing import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Pictures, Splits
    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.task_record import TaskRecord
    from tests.conftest import OpenDemo, RandomWeights

LEFT = {
    *("answers.npz", "curve.csv", "run.json", "selections.npz", "tensorboard"),
    "reliability.json",
}
PLAIN = RunSettings(workers=0, baseline=False)
RESUME = replace(PLAIN, resume=True)


@pytest.fixture
def store(tmp_path: Path, trained_store: Store) -> Store:
    """Give a store with a source and no task yet."""
    fresh = Store(tmp_path / "store")
    fresh.root.mkdir()
    os.link(trained_store.source_path, fresh.source_path)
    return fresh


@pytest.fixture
def unfinished(store: Store, trained_store: Store) -> Store:
    """Give a store with what a run of `shape` leaves behind when it is killed."""
    shutil.copytree(trained_store.run_path("shape"), store.run_path("shape"))
    (store.run_path("shape") / "checkpoint.ckpt").write_bytes(b"not read by these tests")
    return store


def same_bits(one: TaskRecord, other: TaskRecord) -> bool:
    return one.state.keys() == other.state.keys() and all(
        torch.equal(value, other.state[key]) for key, value in one.state.items()
    )


def curve_of(store: Store) -> list[dict[str, str]]:
    """Read the curve but for what the clock says."""
    with (store.run_path("shape") / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in {"images_per_s", "seconds"}} for row in rows]


def selections_of(store: Store) -> dict[str, Any]:
    with np.load(store.run_path("shape") / "selections.npz") as file:
        return {key: value.tolist() for key, value in file.items()}


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_with_other_workers(
    store: Store, trained_store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    again = train_task(store, "shape", open_demo(), short, replace(PLAIN, workers=1))

    first = trained_store.load_task("shape")
    assert same_bits(again, first)
    assert torch.equal(again.samples, first.samples)
    timeless = {key for key in first.metrics if key != "images_per_s"}
    assert {k: again.metrics[k] for k in timeless} == {k: first.metrics[k] for k in timeless}
    assert curve_of(store) == curve_of(trained_store)
    assert selections_of(store) == selections_of(trained_store)


def test_another_seed_gives_other_weights(
    store: Store, trained_store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    other = train_task(store, "shape", open_demo(), replace(short, seed=1, epochs=1), PLAIN)

    assert not same_bits(other, trained_store.load_task("shape"))


def test_the_record_says_what_the_delta_does(
    trained_store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    record, splits = trained_store.load_task("shape"), open_demo()
    source = Source(trained_store.source_weights())
    delta = record.build(source)
    pictures = splits.final[1]
    prepared = [prepare(pictures.load(i), record.preprocessing) for i in range(len(pictures))]
    images = torch.from_numpy(np.stack(prepared))
    targets = torch.tensor([pictures.target(i) for i in range(len(pictures))])

    with torch.no_grad():
        logits = delta(images, source(images))

    metrics = record.metrics
    assert metrics["accuracy"] == pytest.approx((logits.argmax(1) == targets).float().mean().item())
    five = logits.topk(5).indices == targets[:, None]
    assert metrics["accuracy_top5"] == pytest.approx(five.any(1).float().mean().item())
    kept = read_answers(trained_store.run_path("shape"))
    assert kept is not None
    assert kept.right().tolist() == (logits.argmax(1) == targets).tolist()
    loss = torch.nn.functional.cross_entropy(logits, targets).item()
    assert metrics["loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["parameters"] == sum(p.numel() for p in delta.parameters())
    assert metrics["skipped"] == 0
    assert "linear_accuracy" not in metrics
    assert record.labels == splits.labels
    assert record.options == short
    assert record.source_sha256 == source.fingerprint
    assert record.preprocessing.image_size == 64
    assert record.samples.shape == (5, 64, 64, 3)


def test_what_a_finished_run_leaves_behind(trained_store: Store, short: TrainOptions) -> None:
    folder = trained_store.run_path("shape")

    assert files_in(folder) == LEFT
    facts = json.loads((folder / "run.json").read_text())
    assert facts["options"] == json.loads(json.dumps(short.to_dict()))
    assert facts["source"] == trained_store.source_weights().fingerprint()
    assert len(list((folder / "tensorboard").glob("events.*"))) == 1


def test_what_a_run_keeps_out_of_training_calibrates_it(store: Store, short: TrainOptions) -> None:
    """It is stored, and goes into a graph's manifest; the data is known as if nothing was kept."""
    splits = open_data("demo:shape?train=96&test=20&size=64")
    options = replace(short, epochs=1, hold_out=0.5)

    record = train_task(store, "kept", splits, options, PLAIN)

    found = record.confidence
    assert found is not None
    assert (found.pictures, found.held_out_from) == (48, "training")
    assert found.familiarity is not None
    assert (found.familiarity.pictures, found.familiarity.held_out) == (48, 48)
    assert record.metrics["temperature"] == found.temperature
    assert 0 <= record.metrics["calibration_error"] <= 1
    assert record.splits == splits.entries
    stored = store.load_task("kept")
    assert stored.confidence == found
    assert stored.options.hold_out == 0.5
    assert stored.entry({}).confidence == found
    reliability = json.loads((store.run_path("kept") / "reliability.json").read_text())
    assert reliability["calibrated"]["brier"] == record.metrics["brier"]
    assert reliability["plain"]["brier"] == record.metrics["plain_brier"]
    assert sum(each["answers"] for each in reliability["plain"]["bins"]) == 20


def test_the_linear_classifier_beside_it(
    store: Store, open_demo: OpenDemo, short: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def probe(source: Source, splits: Splits, *_: Any, **options: Any) -> float:
        asked.append((source.fingerprint, splits, options))
        return 0.625

    monkeypatch.setattr(probes, "linear_probe_accuracy", probe)
    options, splits = replace(short, epochs=1, seed=3), open_demo()

    record = train_task(store, "shape", splits, options, RunSettings(workers=0))

    assert record.metrics["linear_accuracy"] == 0.625
    expected = {"classifier": None, "seed": 3, "workers": 0}
    assert asked == [(record.source_sha256, splits, expected)]
    assert store.load_task("shape").metrics == record.metrics


def test_a_delta_may_begin_as_the_linear_classifier(
    store: Store, open_demo: OpenDemo, short: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a rate of next to nothing it still is that classifier at the end, fitted once."""
    monkeypatch.delattr(linear_probe, "fit_probe")
    recipe = Recipe(lr=1e-12, classifier_start="linear")
    options = replace(short, recipe=recipe, epochs=1)

    record = train_task(store, "shape", open_demo(), options, RunSettings(workers=0))

    assert record.metrics["accuracy"] == pytest.approx(record.metrics["linear_accuracy"])
    local = record.state["network.fc.weight"][:, :64]
    assert local.abs().max() < 1e-6
    assert record.state["network.fc.weight"][:, 64:].abs().max() > 1e-3


# A run in its own process, which the system stops in the middle of the second epoch.
KILLED = """
import os, sys, torch
from snow_deploy.data import open_data
from snow_deploy.training.answers import read_answers
from snow_deploy.training.module import TaskModule
from snow_deploy.training.options import TrainOptions
from snow_deploy.training.run import RunSettings, train_task
from snow_deploy.training.store import Store
import json

step = TaskModule.training_step

def killed(self, batch, index):
    if (self.current_epoch, index) == (1, 1):
        os._exit(9)
    return step(self, batch, index)

TaskModule.training_step = killed
root, data, options, threads = sys.argv[1:]
torch.set_num_threads(int(threads))  # as here: another number of them rounds otherwise
train_task(
    Store(root),
    "shape",
    open_data(data),
    TrainOptions.from_dict(json.loads(options)),
    RunSettings(workers=0, baseline=False),
)
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(
    store: Store, trained_store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    data = "demo:shape?train=48&test=20&size=64"
    assert open_data(data) == open_demo()
    threads = str(torch.get_num_threads())
    arguments = [str(store.root), data, json.dumps(short.to_dict()), threads]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False
    )
    folder = store.run_path("shape")
    assert killed.returncode == 9, killed.stderr.decode()
    assert store.tasks() == ()
    assert len(curve_of(store)) == 1
    checkpoint = torch.load(folder / "checkpoint.ckpt", weights_only=True)
    assert all(key.startswith("learners.0.network.") for key in checkpoint["state_dict"])

    with pytest.raises(TrainingError, match=r"was interrupted\. Give --resume to go on.*overwrite"):
        train_task(store, "shape", open_demo(), short, PLAIN)
    resumed = train_task(store, "shape", open_demo(), short, RESUME)

    whole = trained_store.load_task("shape")
    assert same_bits(resumed, whole)
    assert same_bits(store.load_task("shape"), whole)
    assert curve_of(store) == curve_of(trained_store)
    assert selections_of(store) == selections_of(trained_store)
    assert resumed.metrics["accuracy"] == whole.metrics["accuracy"]
    assert files_in(folder) == LEFT


def test_a_run_killed_while_measuring_resumes_without_training(
    store: Store,
    trained_store: Store,
    open_demo: OpenDemo,
    short: TrainOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class PowerCutError(Exception):
        pass

    def cut(*_: Any, **__: Any) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(run, "measure_together", cut)
        with pytest.raises(PowerCutError):
            train_task(store, "shape", open_demo(), short, PLAIN)
    monkeypatch.setattr(TaskModule, "training_step", cut)

    resumed = train_task(store, "shape", open_demo(), short, RESUME)

    assert same_bits(resumed, trained_store.load_task("shape"))
    assert curve_of(store) == curve_of(trained_store)


def test_ctrl_c_leaves_a_run_to_resume(
    store: Store, open_demo: OpenDemo, short: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TaskModule.training_step

    def interrupted(self: TaskModule, batch: Any, index: int) -> Any:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(TaskModule, "training_step", interrupted)

    with pytest.raises(KeyboardInterrupt, match="snow-deploy train --task shape --resume"):
        train_task(store, "shape", open_demo(), short, PLAIN)

    assert store.tasks() == ()
    assert (store.run_path("shape") / "checkpoint.ckpt").is_file()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 5}, "epochs: 2 != 5"),
        ({"seed": 1, "batch_size": 8}, "batch_size: 16 != 8; seed: 0 != 1"),
        ({"recipe": Recipe(lr=0.2, momentum=0.8)}, "momentum: 0.9 != 0.8"),
        ({"delta": DeltaOptions(k_divisor=16)}, "k: 8 != 16"),
    ],
)
def test_a_run_is_not_resumed_with_other_options(
    unfinished: Store,
    open_demo: OpenDemo,
    short: TrainOptions,
    changed: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(TrainingError, match=rf"other options \({message}\)\. Resume with the same"):
        train_task(unfinished, "shape", open_demo(), replace(short, **changed), RESUME)


def test_a_run_is_not_resumed_with_other_labels(
    unfinished: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    with pytest.raises(TrainingError, match=r"other labels .*gone \['circle', .*new \['0', '1'"):
        train_task(unfinished, "shape", open_demo("digit"), short, RESUME)


def test_a_run_is_not_resumed_with_other_pictures(unfinished: Store, short: TrainOptions) -> None:
    others = open_data("demo:shape?train=48&test=20&size=64&seed=1")

    with pytest.raises(ResumeError, match="other pictures than the interrupted run"):
        train_task(unfinished, "shape", others, short, RESUME)


def test_a_damaged_checkpoint_is_not_resumed(
    unfinished: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    with pytest.raises(DamagedCheckpointError, match=r"checkpoint\.ckpt is damaged.*--overwrite"):
        train_task(unfinished, "shape", open_demo(), short, RESUME)


def test_a_run_is_not_resumed_on_another_source(
    unfinished: Store,
    open_demo: OpenDemo,
    short: TrainOptions,
    weights: SourceWeights,
    random_weights: RandomWeights,
) -> None:
    unfinished.source_path.unlink()
    other = random_weights("resnet18", seed=1)
    unfinished.put_source(other)

    with pytest.raises(
        TrainingError,
        match=f"used the source {weights.fingerprint()[:12]}, the store now holds "
        f"{other.fingerprint()[:12]}",
    ):
        train_task(unfinished, "shape", open_demo(), short, RESUME)


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"options": {"k": 1}}', '{"labels": 3', '{"options": []}'),
        '{"options": {"delta": [], "recipe": {}}, "labels": ["a"], "source": "b"}',
    ],
)
def test_a_damaged_record_of_a_run(
    unfinished: Store, open_demo: OpenDemo, short: TrainOptions, content: str
) -> None:
    (unfinished.run_path("shape") / "run.json").write_text(content)

    with pytest.raises(TrainingError, match=r"run\.json cannot be read .*--overwrite"):
        train_task(unfinished, "shape", open_demo(), short, RESUME)


def test_there_is_nothing_to_resume(store: Store, open_demo: OpenDemo, short: TrainOptions) -> None:
    with pytest.raises(TrainingError, match=r"no unfinished run of task 'shape'.*leave --resume"):
        train_task(store, "shape", open_demo(), short, RESUME)


def test_a_task_is_not_replaced_unasked(
    trained_store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    before = trained_store.task_path("shape").read_bytes()

    with pytest.raises(TrainingError, match=r"already has a task 'shape'\. Give --overwrite"):
        train_task(trained_store, "shape", open_demo(), short, PLAIN)

    assert trained_store.task_path("shape").read_bytes() == before


def test_overwriting_begins_anew(
    unfinished: Store, trained_store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    shutil.copytree(trained_store.root / "tasks", unfinished.root / "tasks")
    once = replace(short, epochs=1)

    record = train_task(unfinished, "shape", open_demo(), once, replace(PLAIN, overwrite=True))

    assert not same_bits(record, trained_store.load_task("shape"))
    assert same_bits(unfinished.load_task("shape"), record)
    assert len(curve_of(unfinished)) == 1
    assert len(selections_of(unfinished)["epoch"]) == 4
    assert unfinished.load_task("digit").name == "digit"
    events = unfinished.run_path("shape") / "tensorboard"
    assert len(list(events.glob("events.*"))) == 1  # the old curve would lie over the new one


def test_a_failed_run_keeps_the_old_task(
    store: Store, trained_store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    shutil.copytree(trained_store.root / "tasks", store.root / "tasks")
    hopeless = replace(short, recipe=Recipe(lr=1e30))

    with pytest.raises(TrainingError, match="the loss became"):
        train_task(store, "shape", open_demo(), hopeless, replace(PLAIN, overwrite=True))

    assert same_bits(store.load_task("shape"), trained_store.load_task("shape"))


def test_a_store_without_a_source(tmp_path: Path, open_demo: OpenDemo, short: TrainOptions) -> None:
    with pytest.raises(StoreError, match="holds no source"):
        train_task(Store(tmp_path), "shape", open_demo(), short, PLAIN)


def test_a_run_folder_that_cannot_be_written(
    store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    (store.root / "runs").write_text("a file where a folder should be")

    with pytest.raises(StoreError, match=r"runs/shape cannot be written: .*another --store"):
        train_task(store, "shape", open_demo(), short, PLAIN)


@pytest.mark.parametrize("name", ["Shape", "image", "../shape"])
def test_names_that_are_no_task_names(
    store: Store, open_demo: OpenDemo, short: TrainOptions, name: str
) -> None:
    with pytest.raises(SnowError, match="A task cannot be called"):
        train_task(store, name, open_demo(), short, PLAIN)


@pytest.fixture
def folder_with_broken_pictures(tmp_path: Path) -> Path:
    root, rng = tmp_path / "photos", np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{number}.png")
    for broken in ("train/cat/2.png", "train/dog/9.png", "test/dog/1.png"):
        (root / broken).write_bytes(b"not a picture")
    return root


def test_unreadable_pictures_are_named_and_counted(
    store: Store, short: TrainOptions, folder_with_broken_pictures: Path
) -> None:
    splits = open_data(f"imagefolder:{folder_with_broken_pictures}")

    with pytest.warns(UserWarning, match="skipped a picture that cannot be read") as caught:
        record = train_task(store, "pets", splits, short, PLAIN)

    named = " ".join(str(warning.message) for warning in caught)
    for broken in ("train/cat/2.png", "train/dog/9.png", "test/dog/1.png"):
        assert broken in named
    assert record.metrics["skipped"] == 3
    assert record.metrics["accuracy"] * 5 == pytest.approx(round(record.metrics["accuracy"] * 5))
    with (store.run_path("pets") / "curve.csv").open(newline="") as file:
        assert [row["skipped"] for row in csv.DictReader(file)] == ["3", "3"]


@pytest.mark.filterwarnings("ignore:skipped a picture")
def test_no_picture_can_be_read(
    store: Store, short: TrainOptions, folder_with_broken_pictures: Path
) -> None:
    for path in folder_with_broken_pictures.glob("train/*/*.png"):
        path.write_bytes(b"not a picture")
    splits = open_data(f"imagefolder:{folder_with_broken_pictures}")

    with pytest.raises(DataError, match="none of the 13 training pictures could be read"):
        train_task(store, "pets", splits, short, PLAIN)

    assert store.tasks() == ()


def test_mixed_precision_trains_too(store: Store, short: TrainOptions) -> None:
    splits = open_data("demo:shape?train=16&test=4&size=64")
    options = replace(short, epochs=1, precision="bf16")

    record = train_task(store, "shape", splits, options, PLAIN)

    assert {value.dtype for value in record.state.values()} == {torch.float32, torch.int64}
    assert np.isfinite(record.metrics["loss"])


def test_two_processes_do_not_train_the_same_task(
    store: Store, trained_store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    """Not with --overwrite either: the other one's files would be taken from under it."""
    everything = replace(PLAIN, overwrite=True)

    with exclusive(store, ["shape"]):
        before = files_in(store.root)
        with pytest.raises(TrainingError, match="another process is training task 'shape'"):
            train_task(store, "shape", open_demo(), short, everything)
        assert files_in(store.root) == before
        with (  # the refused one took nothing away, least of all the lock
            pytest.raises(TrainingError, match="another process is training task 'shape'"),
            exclusive(store, ["shape"]),
        ):
            pass
        with exclusive(store, ["digit"]):
            pass
    with exclusive(store, ["shape"]):  # it is free again, and leaves no empty folder behind
        pass
    assert not store.run_path("shape").exists()
    assert trained_store.run_path("shape").exists()


@dataclass(frozen=True)
class Deadly:
    """Pictures one of which ends the process that loads it, as the kernel does for want of memory.

    Attributes:
        pictures: What is to be seen.
        main: The process that is spared.
    """

    pictures: Pictures
    main: int

    @property
    def labels(self) -> tuple[str, ...]:
        return self.pictures.labels

    def __len__(self) -> int:
        return len(self.pictures)

    def target(self, index: int) -> int:
        return self.pictures.target(index)

    def name(self, index: int) -> str:
        return self.pictures.name(index)

    def load(self, index: int) -> Image.Image:
        if index == 40 and os.getpid() != self.main:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.pictures.load(index)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_loader_that_is_killed_ends_the_run(
    store: Store, open_demo: OpenDemo, short: TrainOptions
) -> None:
    splits = open_demo()
    deadly = replace(splits, train=Deadly(splits.train, os.getpid()))

    with pytest.raises(DataError, match=r"ended from outside .* Give fewer --workers"):
        train_task(store, "shape", deadly, short, replace(PLAIN, workers=1))

    assert store.tasks() == ()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_dim_pictures_are_told_of_once(
    store: Store,
    short: TrainOptions,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    workers: int,
) -> None:
    remarks._told.clear()
    photos, rng = tmp_path / "photos", np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (photos / split / label).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 4096, (40, 48), dtype=np.uint16)
                Image.fromarray(pixels).save(photos / split / label / f"{number}.png")
    splits = open_data(f"imagefolder:{photos}")

    train_task(store, "pets", splits, replace(short, epochs=1), replace(PLAIN, workers=workers))

    (record,) = [each for each in caplog.records if each.name == "snow_runtime.pictures.remarks"]
    assert f"{photos}/train/" in record.getMessage()
    assert "no value above 40" in record.getMessage()
