"""Every step of SNOW in order: source, tasks, graph, parity, prediction, measurement."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snow_deploy.data import open_data
from snow_deploy.demo.latency import compare_latency
from snow_deploy.demo.new_question import LABELS, QUESTION, learn_question
from snow_deploy.demo.pretrain import ORIGIN, PretrainOptions, pretrain
from snow_deploy.errors import StoreError
from snow_deploy.models.source import Source
from snow_deploy.stages.export import export_source, export_tasks
from snow_deploy.training.options import RECIPES, TrainOptions
from snow_deploy.training.run import RunSettings, train_task
from snow_deploy.training.store import Store
from snow_runtime.model import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from snow_deploy.demo.new_question import NewQuestion
    from snow_deploy.training.task_record import TaskRecord
    from snow_export.parity import TaskParity
    from snow_runtime.results import Result

TASKS = ("shape", "colour", "digit")
PREDICTED = 6
"""Held-out pictures that the demo predicts and shows."""


@dataclass(frozen=True)
class DemoOptions:
    """The size of the demo.

    Attributes:
        pretrain: How the source is made.
        train: Training pictures of each task.
        test: Test pictures of each task.
        epochs: Epochs of each task.
        batch_size: Pictures a step.
        rounds: Rounds of the latency measurement.
        workers: Processes that render pictures; starting one takes longer than a few pictures.
    """

    pretrain: PretrainOptions = field(default_factory=PretrainOptions)
    train: int = 2000
    test: int = 500
    epochs: int = 3
    batch_size: int = 32
    rounds: int = 40
    workers: int = 1

    def data(self, task: str) -> str:
        """Return the data spec of a task; all tasks look at the same pictures."""
        return f"demo:{task}?train={self.train}&test={self.test}&size={self.pretrain.image_size}"


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo found; every figure was measured in this run.

    Attributes:
        store: Store of the tasks.
        graph: The exported graph.
        records: The trained tasks.
        source_accuracy: Accuracy of the source on its own question, 0 to 1.
        source_parameters: Number of parameters of the source.
        subscriptions: Source channels N by subscription, in the source's order.
        parity: Torch against ONNX Runtime, by task.
        latency_ms: Latencies that `compare_latency` returned.
        predictions: Held-out pictures: index, the answers, the truth by task.
        new_question: What twenty labels added to the model.
        seconds: Duration of each step.
    """

    store: Store
    graph: Path
    records: list[TaskRecord]
    source_accuracy: float
    source_parameters: int
    subscriptions: dict[str, int]
    parity: list[TaskParity]
    latency_ms: dict[str, float]
    predictions: list[tuple[int, Result, dict[str, str]]]
    new_question: NewQuestion
    seconds: dict[str, float]


def walk(folder: Path, options: DemoOptions, say: Callable[[str], None]) -> DemoOutcome:
    """Run the demo in a folder; an earlier demo's files there are replaced."""
    clock = _Clock(say)
    store = Store(folder / "store")
    graph, whole = folder / "snow.onnx", folder / "whole.onnx"
    _check_replaceable(store, (store.root, graph, whole, folder / "collection"))
    shutil.rmtree(store.root, ignore_errors=True)
    with clock("Pre-train a small source"):
        weights, source_accuracy = pretrain(options.pretrain, workers=options.workers)
        store.put_source(weights)
        say(f"source: {source_accuracy:.3f} on its own {len(weights.labels or ())} classes")
    source = Source(weights)
    records = []
    for task in TASKS:
        with clock(f"Train task {task}"):
            records.append(_train(store, task, options))
    with clock("Export one graph, check it against torch"):
        parity = export_tasks(store, TASKS, graph, with_features=True)
        export_source(store, whole)
    with clock("Predict held-out pictures with the exported graph"):
        predictions = _predict(graph, options)
    with clock(f"Add the question {QUESTION} to the running model, from {LABELS} labels"):
        new_question = learn_question(graph, options.data(QUESTION), folder / "collection")
    with clock("Time the shared graph beside whole models"):
        latency_ms = compare_latency(
            graph,
            whole,
            len(TASKS),
            image_size=options.pretrain.image_size,
            rounds=options.rounds,
        )
    return DemoOutcome(
        store=store,
        graph=graph,
        records=records,
        source_accuracy=source_accuracy,
        source_parameters=source.count_parameters(),
        subscriptions={item.name: item.channels for item in source.anatomy.subscriptions},
        parity=[each for each in parity if each.task in TASKS],  # not the features'
        latency_ms=latency_ms,
        predictions=predictions,
        new_question=new_question,
        seconds=clock.seconds,
    )


def _check_replaceable(store: Store, files: Sequence[Path]) -> None:
    """Refuse to replace what is not an earlier demo's.

    Raises:
        StoreError: So it would be.
    """
    there = [path for path in files if path.exists()]
    ours = store.has_source() and store.source_weights().origin == ORIGIN
    if there and not ours:
        msg = f"{there[0]} is there, and is not an earlier demo's. Choose another -o."
        raise StoreError(msg)


def _train(store: Store, task: str, options: DemoOptions) -> TaskRecord:
    train = TrainOptions(
        recipe=RECIPES["steady"],
        epochs=options.epochs,
        batch_size=options.batch_size,
        image_size=options.pretrain.image_size,
        precision="fp32",
        hold_out=0.1,
    )
    splits = open_data(options.data(task))
    return train_task(store, task, splits, train, RunSettings(workers=options.workers))


def _predict(graph: Path, options: DemoOptions) -> list[tuple[int, Result, dict[str, str]]]:
    splits = {task: open_data(options.data(task)) for task in TASKS}
    found = []
    with load(graph) as model:
        for index in range(PREDICTED):
            pictures = {task: split.final[1] for task, split in splits.items()}
            result = model(pictures[TASKS[0]].load(index))
            truth = {task: item.labels[item.target(index)] for task, item in pictures.items()}
            found.append((index, result, truth))
    return found


class _Clock:
    """Announces the steps and remembers how long each took."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._say = say

    def __call__(self, step: str) -> _Clock:
        self._step = step
        return self

    def __enter__(self) -> None:
        self._say(f"\n{len(self.seconds) + 1}. {self._step}")
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self._step] = time.perf_counter() - self._started
