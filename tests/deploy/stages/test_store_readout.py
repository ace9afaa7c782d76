"""A readout of a store, and the source alone, on a device that runs already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import snow_runtime
from snow_deploy.cli import main
from snow_deploy.data import open_data
from snow_deploy.errors import StoreError
from snow_deploy.models.source import Source
from snow_deploy.stages.store_readout import readout_of
from snow_deploy.training.options import recipe_for
from snow_deploy.training.readout_options import ReadoutOptions
from snow_deploy.training.run import RunSettings
from snow_deploy.training.store import Store
from snow_deploy.training.task_requests import TaskRequest
from snow_runtime.readout.file import ReadoutFile
from tests.conftest import copy_store, made_once
from tests.deploy.bright_pictures import open_bright

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from snow_deploy.training.options import TrainOptions


@pytest.fixture(scope="module")
def store(
    trained_store: Store, short: TrainOptions, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    """Give a copy of the trained store with two readouts besides; a test must not write to it."""
    from snow_deploy.training.fit_readouts import fit_tasks

    def fit(folder: Path) -> None:
        copy = copy_store(trained_store, folder / "store")
        how = replace(
            short,
            scheme="readout",
            recipe=recipe_for("steady", "readout"),
            readout=ReadoutOptions(features=70),
        )
        colour = open_data("demo:colour?train=48&test=20&size=64")
        for name, splits in (("colour", colour), ("marks", open_bright(folder / "marks"))):
            fit_tasks(copy, [TaskRequest(name, splits, how)], RunSettings(workers=0))

    return Store(made_once(tmp_path_factory, "store-with-readouts", fit) / "store")


@pytest.fixture(scope="module")
def graph(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the source alone, with features, as a device begins with."""

    def export(folder: Path) -> None:
        result = call("export", store, "--source-only", "--features", "-o", folder / "snow.onnx")
        assert result.exit_code == 0, result.output

    return made_once(tmp_path_factory, "graph-of-the-source", export) / "snow.onnx"


def call(command: str, store: Store, *arguments: object) -> Result:
    return CliRunner().invoke(main, [command, "--store", str(store.root), *map(str, arguments)])


def photos(count: int = 3) -> list[Image.Image]:
    rng = np.random.default_rng(5)
    return [
        Image.fromarray(rng.integers(0, 256, (80, 70, 3), dtype=np.uint8)) for _ in range(count)
    ]


@pytest.mark.parametrize("name", [pytest.param("colour", marks=pytest.mark.slow), "marks"])
def test_it_answers_on_another_graph_as_the_task_inside_one(
    store: Store, graph: Path, tmp_path: Path, name: str
) -> None:
    inside, file = tmp_path / "inside.onnx", tmp_path / "new" / "door.readout"
    assert call("export", store, "--tasks", name, "-o", inside).exit_code == 0

    result = call("export", store, "--readout", name, "-o", file)

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{name}: ")
    assert ", 70 features, accuracy " in result.stdout
    with snow_runtime.load(inside) as one, snow_runtime.load(graph) as other:
        other.self_check()
        other.add_readout(file)
        for photo in photos():
            expected, found = one(photo)[name], other(photo)[name]
            assert np.allclose(found.probabilities, expected.probabilities, atol=1e-4)
            assert found.answers == expected.answers
            assert found.probabilities.std() > 1e-3


def test_it_says_what_the_store_knows(store: Store) -> None:
    found, record = readout_of(store, "colour"), store.load_task("colour")

    facts = found.facts
    assert found.labels == record.labels
    assert facts.source.sha256 == Source(store.source_weights()).fingerprint
    assert facts.preprocessing == record.preprocessing
    assert found.index.tolist() == record.state["index"].tolist()
    assert np.array_equal(found.weight, record.state["classifier.weight"].numpy())
    assert facts.fit.pictures == 48
    assert facts.fit.accuracy == record.metrics["cross_validated_accuracy"]
    assert facts.fit.penalty == record.metrics["penalty"]
    assert torch.__version__.startswith(facts.versions["torch"])


def test_inspect_reads_it_and_the_file_is_the_same_again(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.readout"
    assert call("export", store, "--readout", "colour", "-o", path).exit_code == 0
    again = ReadoutFile.read(path)
    again.write(tmp_path / "b.readout")

    assert (tmp_path / "b.readout").read_bytes() == path.read_bytes()
    result = CliRunner().invoke(main, ["inspect", str(path)])
    assert "fitted  on 48 pictures" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--readout", "shape"], "task 'shape' is of the scheme snow, expected readout"),
        (["--readout", "shape"], "has: colour, marks"),
        (["--readout", "none"], "has no task 'none' (it has: colour, digit, marks, shape)"),
        (["--readout", "colour", "-o", "x.onnx"], "expected one that ends in .readout"),
        (["--readout", "colour", "--features"], "does not read --features"),
        (["--readout", "colour", "--input", "uint8", "--batch", "1"], "read --input, --batch"),
        (["--source-only", "--tasks", "shape"], "does not read --tasks"),
        (["--source-only", "--layout", "auto"], "leave --layout out"),
        (["--image-size", "64"], "--image-size is for --source-only"),
        (["--source-only", "--image-size", "16"], "--image-size"),
    ],
)
def test_what_is_refused(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    result = call("export", store, *arguments)

    assert result.exit_code != 0
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_one_of_a_version_that_noted_less_is_refused(store: Store, tmp_path: Path) -> None:
    copy = copy_store(store, tmp_path / "store")
    record = copy.load_task("colour")
    copy.save_task(replace(record, metrics={"accuracy": 1.0}))

    with pytest.raises(StoreError, match=r"did not note its fit_pictures, .*--overwrite"):
        readout_of(copy, "colour")


def test_the_source_alone_of_a_store_without_tasks(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bare = Store(tmp_path / "bare")
    bare.put_source(store.source_weights())

    result = call("export", bare, "--source-only", "--features", "--image-size", 96)

    assert result.exit_code == 0, result.output
    with snow_runtime.load(tmp_path / "snow.onnx") as model:
        model.self_check()
        assert model.tasks == ("source",)
        assert model.manifest.preprocessing.image_size == 96
        assert model.features(photos(2)).shape == (2, 1920)


def test_tasks_of_several_sizes_need_one_named(store: Store, tmp_path: Path) -> None:
    copy = copy_store(store, tmp_path / "store")
    record = copy.load_task("colour")
    other = replace(record.preprocessing, image_size=96, resize_size=110)
    copy.save_task(replace(record, preprocessing=other))

    result = call("export", copy, "--source-only", "-o", tmp_path / "snow.onnx")

    assert result.exit_code == 1
    assert "of 64, 96 pixels" in result.stderr
    assert "--image-size" in result.stderr


def test_a_source_without_classes_of_its_own(store: Store, tmp_path: Path) -> None:
    bare = Store(tmp_path / "bare")
    weights = store.source_weights()
    blank = {key: torch.zeros_like(weights.state[key]) for key in ("fc.weight", "fc.bias")}
    bare.put_source(replace(weights, state={**weights.state, **blank}))

    result = call("export", bare, "--source-only", "-o", tmp_path / "snow.onnx")

    assert result.exit_code == 1
    assert "came without a classifier" in result.stderr
