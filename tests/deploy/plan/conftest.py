"""A store of untrained variants: what they cost is real, their accuracies are made up."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Protocol

import pytest
import torch

from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes import build_network
from snow_deploy.models.source import Source
from snow_deploy.training.options import TrainOptions
from snow_deploy.training.store import Store
from snow_deploy.training.task_record import TaskRecord
from snow_runtime.graph.data_entry import SplitEntry
from snow_runtime.graph.manifest import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.network import Scheme
    from snow_deploy.models.weights import SourceWeights

SIZE = 32
PICTURES = 400
FEATURES = 16
LABELS = {"food": ("apple", "bread", "cheese"), "mood": ("calm", "glad")}


class AddVariant(Protocol):
    def __call__(
        self,
        name: str,
        accuracy: float,
        scheme: Scheme = "snow",
        task: str = "food",
        width: int = 8,
    ) -> TaskRecord: ...


class MakeRecord(Protocol):
    def __call__(
        self, name: str, accuracy: float, scheme: Scheme, task: str, width: int
    ) -> TaskRecord: ...


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_record(  # noqa: PLR0917 - one call, below
    source: Source, name: str, accuracy: float, scheme: Scheme, task: str, width: int
) -> TaskRecord:
    """Make a task of a random network, as if it had been trained on the task's pictures."""
    options = TrainOptions(delta=DeltaOptions(width_divisor=width), scheme=scheme, image_size=SIZE)
    torch.manual_seed(len(name))
    network = build_network(source, len(LABELS[task]), options, features=FEATURES)
    state = dict(network.state_dict())
    if scheme == "readout":
        every = sum(tap.channels for tap in source.anatomy.taps)
        state["index"] = torch.linspace(0, every - 1, FEATURES).long()  # of all taps, the last too
    samples = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
    metrics = {"accuracy": accuracy, "skipped": 0.0}
    if scheme == "readout":
        metrics |= {
            "cross_validated_accuracy": accuracy - 0.01,
            "cross_validated_error": 0.02,
            "fit_pictures": 300.0,
        }
    return TaskRecord(
        name=name,
        labels=LABELS[task],
        state=state,
        source_sha256=source.fingerprint,
        preprocessing=Preprocessing.for_size(SIZE),
        options=options,
        samples=samples,
        metrics=metrics,
        data_sha256=digest(task),
        splits={
            "train": SplitEntry(digest(f"{task} train"), 800),
            "test": SplitEntry(digest(f"{task} test"), PICTURES),
        },
    )


@pytest.fixture(scope="package")
def source_file(weights: SourceWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the source once; the stores of the tests link to it."""
    store = Store(tmp_path_factory.mktemp("source"))
    store.put_source(weights)
    return store.source_path


@pytest.fixture(scope="package")
def records(weights: SourceWeights) -> MakeRecord:
    """Give a function that makes a record, each once."""
    source = Source(weights)
    return functools.cache(functools.partial(make_record, source))


@pytest.fixture
def store(tmp_path: Path, source_file: Path) -> Store:
    """Give a store with a ResNet-18 and no tasks."""
    found = Store(tmp_path / "store")
    found.root.mkdir()
    found.source_path.hardlink_to(source_file)
    return found


@pytest.fixture
def add(store: Store, records: MakeRecord) -> AddVariant:
    """Give a function that puts a variant into the store."""

    def put(
        name: str, accuracy: float, scheme: Scheme = "snow", task: str = "food", width: int = 8
    ) -> TaskRecord:
        record = records(name, accuracy, scheme, task, width)
        store.save_task(record)
        return record

    return put


@pytest.fixture
def four(add: AddVariant) -> dict[str, TaskRecord]:
    """Put two tasks into the store, each as a readout and as a delta."""
    return {
        "food-readout": add("food-readout", 0.85, "readout"),
        "food-snow": add("food-snow", 0.90),
        "mood-readout": add("mood-readout", 0.80, "readout", "mood"),
        "mood-snow": add("mood-snow", 0.81, "snow", "mood"),
    }
