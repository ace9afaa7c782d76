"""A study whose runs are trained by something quick, and a small source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from snow_deploy.errors import DivergedError
from snow_deploy.models.source import Source
from snow_deploy.paper.measure.networks import random_weights
from snow_deploy.paper.study import Study
from snow_deploy.training.answers import Answers
from snow_deploy.training.outcome import TrainingOutcome
from snow_deploy.training.store import Store
from snow_deploy.training.task_record import TaskRecord
from snow_runtime.graph.manifest import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_deploy.data.pictures import Splits
    from snow_deploy.errors import ResumeError
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.task_requests import TaskRequest

SMALL = "squeezenet1_1"
DATA = {
    "shape": "demo:shape?train=16&test=8&size=32",
    "digit": "demo:digit?train=16&test=8&size=32",
}


@pytest.fixture(scope="session")
def small_source() -> Source:
    return Source(random_weights(SMALL, 7))


@pytest.fixture
def study(tmp_path: Path, small_source: Source) -> Study:
    store = Store(tmp_path / "store")
    store.put_source(small_source.weights)
    lines: list[str] = []
    return Study(
        tmp_path / "out",
        store,
        DATA,
        schemes=("fo", "lf", "snow"),
        seeds=(0, 1),
        epochs=1,
        batch_size=8,
        image_size=32,
        precision="fp32",
        workers=0,
        say=lines.append,
    )


def told(study: Study) -> list[str]:
    """Return the lines that a study was told."""
    lines: list[str] = study.say.__self__  # type: ignore[attr-defined]
    return lines


_BASES = {"fo": 0.5, "fe": 0.52, "ft": 0.55, "mp": 0.53, "pn": 0.54, "lf": 0.6, "snow": 0.7}


def accuracy_of(data: str, options: TrainOptions) -> float:
    """Return what the stand-in reaches: something else for everything that a table varies."""
    base = _BASES[options.scheme]
    delta = options.delta
    varied = 0.1 * delta.sigma2 + 0.001 * delta.k_divisor + 0.0001 * delta.width_divisor
    kinds = {"pooling": 0.0, "conv1x1": 0.01, "attention": 0.02, "all": 0.03}
    return (
        base + (data == "digit") * 0.05 + 0.02 * options.seed + varied + kinds[delta.subscription]
    )


def answers_of(pictures: int, options: TrainOptions) -> Answers:
    """Return answers of which SNOW's are all right and others' wrong for some, by their seed."""
    target = np.zeros(pictures, dtype=np.int64)
    ranked = np.tile(np.arange(2), (pictures, 1))
    if options.scheme != "snow":
        ranked[: 1 + options.seed] = [1, 0]
    return Answers(np.arange(pictures), target, ranked)


class Trainer:
    """Stands in for `train_tasks`: notes what it is asked for and stores an empty network."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.names: list[str] = []
        self.settings: list[RunSettings] = []
        self.groups: list[list[str]] = []
        self.interrupted_at: int | None = None
        self.diverging: set[str] = set()
        self.losses = False
        self.cannot_resume: ResumeError | None = None

    def __call__(
        self, store: Store, requests: Sequence[TaskRequest], settings: RunSettings
    ) -> TrainingOutcome:
        self.settings.append(settings)
        if settings.resume and self.cannot_resume is not None:
            raise self.cannot_resume
        asked = [each for each in requests if each.name not in store.tasks()]
        self.groups.append([each.name for each in requests])
        failures = {
            each.name: "the loss became nan" for each in asked if each.name in self.diverging
        }
        records = [
            self.train(store, each.name, each.splits, each.options)
            for each in asked
            if each.name not in failures
        ]
        if failures and not records:
            raise DivergedError(next(iter(failures.values())), failures)
        (store.run_path(requests[0].name) / "checkpoint.ckpt").unlink(missing_ok=True)
        return TrainingOutcome(tuple(records), (), failures)

    def train(self, store: Store, name: str, splits: Splits, options: TrainOptions) -> TaskRecord:
        if len(self.names) == self.interrupted_at:
            msg = "interrupted; go on with: snow-deploy train …"
            raise KeyboardInterrupt(msg)
        self.names.append(name)
        accuracy = accuracy_of(name.partition("-")[0], options)
        record = TaskRecord(
            name,
            splits.labels,
            {"weight": torch.zeros(1)},
            self.source.fingerprint,
            Preprocessing.for_size(options.image_size),
            options,
            torch.zeros(1, 32, 32, 3, dtype=torch.uint8),
            {"accuracy": accuracy, "accuracy_top5": accuracy + 0.1, "parameters": 1e6}
            | ({"loss": -accuracy} if self.losses else {}),
            data_sha256=splits.fingerprint,
        )
        folder = store.run_path(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "curve.csv").write_text(f"epoch,test_accuracy\n1,{accuracy}\n", encoding="utf-8")
        answers_of(len(splits.final[1]), options).write(folder)
        np.savez(folder / "selections.npz", **self.history(len(self.names)))
        store.save_task(record)
        return record

    def history(self, shift: int) -> dict[str, Any]:
        """Choose K = N / 8 channels: at first the first ones, at the end some `shift` further."""
        chosen = {}
        for item in self.source.anatomy.subscriptions:
            kept = max(1, item.channels // 8)
            first = np.arange(kept, dtype=np.int32)
            chosen[item.name] = np.stack([first, first + shift % 2])
        return {"epoch": np.array([0.0, 1.0]), **chosen}


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch, small_source: Source) -> Trainer:
    trainer = Trainer(small_source)
    monkeypatch.setattr("snow_deploy.paper.runs.train_tasks", trainer)
    older = {"accuracy": 0.25, "accuracy_top5": 0.75}
    monkeypatch.setattr("snow_deploy.paper.lifelong._older", lambda *_: older)
    return trainer
