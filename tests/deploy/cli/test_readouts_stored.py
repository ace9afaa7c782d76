"""A store with a delta and two readouts, through every command that reads a store or its graph."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from snow_deploy.cli import main
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.training.options import TrainOptions
from snow_deploy.training.store import Store
from snow_deploy.training.task_record import TaskRecord
from snow_runtime.graph.manifest import Preprocessing
from tests.export.requests import LABELS, random_delta
from tests.export.test_readouts import random_readout, scattered

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.weights import SourceWeights

FEATURES = 1920  # of a ResNet-18's eight blocks


@pytest.fixture(scope="module")
def store(weights: SourceWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep one delta, birds, and two readouts of 40 features."""
    root = tmp_path_factory.mktemp("readouts") / "store"
    source, kept = Source(weights), Store(root)
    kept.put_source(weights)
    for number, (name, labels) in enumerate(LABELS.items()):
        readout = random_readout(source, len(labels), scattered(source, number), number)
        network: Any = readout if number else random_delta(source, 3, 0, DeltaOptions())
        kept.save_task(
            TaskRecord(
                name=name,
                labels=labels,
                state=network.state_dict(),
                source_sha256=source.fingerprint,
                preprocessing=Preprocessing.for_size(64),
                options=replace(TrainOptions(), scheme="readout" if number else "snow"),
                samples=torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8),
            )
        )
    return root


@pytest.fixture(scope="module")
def graph(store: Path) -> Path:
    path = store.parent / "snow.onnx"
    said = run("export", "--store", store, "--features", "-o", path)
    features = next(line for line in said.splitlines() if line.startswith("source.features"))
    assert "at features up to" in features
    assert "top-1" not in features
    return path


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def of_task(output: str, name: str) -> str:
    return output.partition(f"task {name}  ")[2].partition("\n\n")[0]


def test_a_store_in_words(store: Path) -> None:
    output = run("inspect", store)

    cars = of_task(output, "cars")
    assert "scheme readout" in cars
    assert "reads 40 features" in cars
    assert "fitted, seed 0, on the source" in cars
    assert "epochs" not in cars
    assert "epochs" in of_task(output, "birds")
    shares = {line.split()[0]: line.split()[1:] for line in output.splitlines() if "64 px" in line}
    assert shares["cars"][:2] == [str(41 * 2), str(40 * 2)]  # with biases; without
    assert shares["food"][:2] == [str(41 * 4), str(40 * 4)]


def test_the_chosen_features_stand_by_their_taps(store: Path, weights: SourceWeights) -> None:
    source = Source(weights)
    document = json.loads(run("inspect", "--json", store / "tasks" / "food.safetensors"))

    starts, place = dict[str, int](), 0
    for tap in source.anatomy.taps:
        starts[tap.name], place = place, place + tap.channels
    selections = document["tasks"][0]["selections"]
    read = [starts[tap] + channel for tap, channels in selections.items() for channel in channels]
    assert read == scattered(source, 2)
    assert place == FEATURES


def test_a_graph_in_words(graph: Path) -> None:
    output = run("inspect", graph)

    assert f"features  'source.features', {FEATURES} of 8 taps" in output
    assert "reads 40 features" in of_task(output, "cars")
    assert "widths over None" not in output
    assert "16 subscriptions" in of_task(output, "birds")
    document = json.loads(run("inspect", "--json", graph))
    assert sum(tap["channels"] for tap in document["features"]["taps"]) == FEATURES


def test_the_joined_product_costs_its_tasks(graph: Path, store: Path) -> None:
    document = json.loads(run("cost", "--json", graph))

    source = Source(Store(store).source_weights())
    union = len({index for seed in (1, 2) for index in scattered(source, seed)})
    rows = {row["owner"]: row for row in document["owners"]}
    assert set(rows) == {"source", "birds", "cars+food"}
    assert rows["cars+food"]["macs"] == union * 6
    assert document["tasks"]["cars+food"] == ["cars", "food"]


@pytest.mark.slow
def test_verify_compares_readouts_and_features(graph: Path, store: Path) -> None:
    output = run("verify", graph, "--store", store, "--batch-sizes", "2")

    last = [line.split() for line in output.splitlines() if line.startswith("file")]
    assert {words[2]: words[-1] for words in last} == {
        **dict.fromkeys(LABELS, "100%"),
        "source.features": "-",
    }


def test_predict_answers_the_tasks_alone(graph: Path, tmp_path: Path) -> None:
    picture = tmp_path / "photo.png"
    Image.new("RGB", (80, 70), (200, 30, 90)).save(picture)

    output = run("predict", graph, picture, "--json")

    assert "source.features" not in output
    assert all(task in output for task in LABELS)


def test_bench_runs_it(graph: Path) -> None:
    document = json.loads(run("bench", graph, "--json", "--duration", "0.1"))
    assert document
