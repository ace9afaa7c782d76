"""`train --scheme readout`, from photos to a task in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from snow_deploy.cli import main
from snow_deploy.data import open_data
from snow_deploy.models.source import Source
from snow_deploy.training import feature_cache
from snow_deploy.training.store import Store
from snow_runtime.pictures.preprocessing import prepare
from tests.conftest import made_once

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.weights import SourceWeights

COLOURS = ("red", "green", "blue")
COUNT = 36
FIT = ("--scheme", "readout", "--image-size", "32", "--workers", "0")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give photos by class, and a list of them with a column of labels and one for each."""

    def make(root: Path) -> None:
        rng = np.random.default_rng(0)
        lines = ["file,split,red,green,blue,kind"]
        for number in range(COUNT):
            bright = (np.array([number, number // 2, number // 4]) % 2).astype(int)
            pixels = rng.integers(0, 60, (32, 32, 3)) + 180 * bright
            split = "train" if number < 24 else "test"
            kind = "warm" if bright[0] else "cold"
            path = root / split / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
            cells = ",".join(map(str, bright))
            lines.append(f"{path.relative_to(root)},{split},{cells},{kind}")
        (root / "list.csv").write_text("\n".join(lines) + "\n")

    return made_once(tmp_path_factory, "photos-for-readouts", make)


@pytest.fixture
def store(tmp_path: Path, weights: SourceWeights) -> Store:
    made = Store(tmp_path / "store")
    made.put_source(weights)
    return made


def train(store: Store, data: str, *options: object, task: str = "kind") -> Result:
    words = ["train", "--task", task, "--data", data, "--store", store.root, *FIT, *options]
    return CliRunner().invoke(main, list(map(str, words)))


def shut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no picture be run through the source any more."""

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("pictures were read")

    monkeypatch.setattr(feature_cache, "make_view_loader", fail)


def logits_of(store: Store, task: str, data: str) -> np.ndarray:
    """Answer the test pictures with torch and the stored task."""
    record = store.load_task(task)
    source = Source(store.source_weights())
    network, pictures = record.build(source), open_data(data).final[1]
    prepared = [prepare(pictures.load(i), record.preprocessing) for i in range(len(pictures))]
    with torch.no_grad():
        images = torch.from_numpy(np.stack(prepared))
        logits: np.ndarray = network(images, source(images)).numpy()
    return logits


def test_a_task_is_fitted_and_stored(store: Store, photos: Path) -> None:
    data = f"imagefolder:{photos}"
    result = train(store, data)
    assert result.exit_code == 0, result.output
    assert "a readout fitted on 2 views of each" in result.output

    record = store.load_task("kind")
    logits = logits_of(store, "kind", data)
    pictures = open_data(data).final[1]
    targets = [pictures.target(index) for index in range(len(pictures))]
    accuracy = float((logits.argmax(1) == targets).mean())
    assert accuracy > 0.9
    assert record.metrics["accuracy"] == pytest.approx(accuracy)
    assert record.metrics["features"] == record.state["index"].numel()
    assert record.metrics["skipped"] == 0
    assert 0 <= record.metrics["cross_validated_accuracy"] <= 1
    assert record.metrics["fit_s"] > 0
    assert record.options.scheme == "readout"


@pytest.mark.slow
def test_another_task_of_the_same_photos_reads_none(
    store: Store, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(store, f"imagefolder:{photos}").exit_code == 0
    shut(monkeypatch)

    for task, labels in (("other", "label=kind"), ("tags", "labels=red,green,blue")):
        result = train(store, f"csv:{photos}/list.csv?{labels}", "--features", 64, task=task)
        assert result.exit_code == 0, result.output
        assert store.load_task(task).state["index"].numel() == 64


def test_several_labels(store: Store, photos: Path) -> None:
    data = f"csv:{photos}/list.csv?labels=red,green,blue"
    result = train(store, data, "--class-weights", "balanced", task="tags")
    assert result.exit_code == 0, result.output
    record = store.load_task("tags")
    assert record.labels == COLOURS
    assert record.answers == "several"
    logits = logits_of(store, "tags", data)
    rows = [line.split(",") for line in (photos / "list.csv").read_text().splitlines()[1:]]
    wanted = np.array([[cell == "1" for cell in row[2:5]] for row in rows if row[1] == "test"])
    assert ((logits > 0) == wanted).mean() > 0.85


def test_a_task_that_is_there(store: Store, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = f"imagefolder:{photos}"
    assert train(store, data, "--features", 8).exit_code == 0
    path = store.task_path("kind")
    before = path.read_bytes()
    shut(monkeypatch)

    again = train(store, data, "--features", 9)
    assert again.exit_code == 1
    assert again.stderr.count("error: ") == 1
    assert "already has a task 'kind'. Give --overwrite" in again.stderr
    assert path.read_bytes() == before

    other = train(store, data, "--features", 9, "--overwrite")
    assert other.exit_code == 0, other.output
    assert store.load_task("kind").state["index"].numel() == 9


def test_several_processes_are_refused(
    store: Store, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = train(store, f"imagefolder:{photos}")
    assert result.exit_code == 1
    assert "a readout is fitted by one process" in result.output
    assert store.tasks() == ()


def test_the_same_is_fitted_twice(store: Store, photos: Path) -> None:
    data = f"imagefolder:{photos}"
    for task in ("one", "two"):
        assert train(store, data, task=task).exit_code == 0
    one, two = (store.load_task(task).state for task in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
def test_readouts_and_deltas_in_one_run(store: Store, photos: Path) -> None:
    words = ("--sweep", "scheme=snow,readout", "--epochs", 1, "--batch-size", 12, "--no-baseline")
    data = f"imagefolder:{photos}"
    fixed = ["train", "--task", "kind", "--data", data, "--store", store.root, *FIT[2:], *words]
    result = CliRunner().invoke(main, list(map(str, fixed)))
    assert result.exit_code == 0, result.output
    names = sorted(store.tasks())
    schemes = {store.load_task(name).options.scheme for name in names}
    assert len(names) == 2
    assert schemes == {"snow", "readout"}


@pytest.mark.slow
def test_resume_goes_on_where_tasks_are_missing(
    store: Store, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that was stopped, what is there stays; pictures are not read again."""
    csv = f"csv:{photos}/list.csv"
    words = ("--task", "tags", "--data", f"{csv}?labels=red,green,blue", "--features", 8)
    assert train(store, f"{csv}?label=kind", *words).exit_code == 0
    kept = store.task_path("kind").read_bytes()
    store.task_path("tags").unlink()
    shut(monkeypatch)

    result = train(store, f"{csv}?label=kind", *words, "--resume")

    assert result.exit_code == 0, result.output
    assert "task kind: skipped" in result.output
    assert store.tasks() == ("kind", "tags")
    assert store.task_path("kind").read_bytes() == kept
    alone = train(store, f"{csv}?label=kind", "--features", 8, "--resume")
    assert alone.exit_code == 0, alone.output
    other = train(store, f"{csv}?label=kind", "--features", 9, "--resume")
    assert other.exit_code == 1
    assert "was trained otherwise" in other.stderr
    assert store.task_path("kind").read_bytes() == kept


@pytest.mark.slow
def test_a_run_that_stopped_in_its_delta_goes_on(
    store: Store, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The readout, which was there by then, is no obstacle, with --resume or without."""
    words = ("--sweep", "scheme=snow,readout", "--epochs", 1, "--batch-size", 12, "--no-baseline")
    fixed = [
        *("train", "--task", "kind", "--data", f"imagefolder:{photos}", "--store", store.root),
        *(*FIT[2:], *words),
    ]

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("snow_deploy.training.run.train_tasks", stop)
        assert CliRunner().invoke(main, list(map(str, fixed))).exit_code == 130
    assert store.tasks() == ("kind-scheme_readout",)
    kept = store.task_path("kind-scheme_readout").read_bytes()

    result = CliRunner().invoke(main, list(map(str, fixed)))

    assert result.exit_code == 0, result.output
    assert store.tasks() == ("kind-scheme_readout", "kind-scheme_snow")
    assert store.task_path("kind-scheme_readout").read_bytes() == kept


def test_views_of_pictures_that_may_not_be_cropped(store: Store) -> None:
    demo = "demo:shape?train=60&test=12&size=32"
    result = train(store, demo, "--views", 3)
    assert result.exit_code == 1
    assert "3 views of each picture were asked for" in result.stderr
    assert "Leave --views out" in result.stderr
    assert store.tasks() == ()
    result = train(store, demo)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--views", 0), "views"),
        (("--views", 1000), "views"),
        (("--features", 0), "features"),
        (("--features", -3), "features"),
    ],
)
def test_numbers_out_of_range(
    store: Store, photos: Path, words: tuple[object, ...], message: str
) -> None:
    result = train(store, f"imagefolder:{photos}", *words)
    assert result.exit_code in {1, 2}
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert store.tasks() == ()


def test_more_features_than_there_are_is_all_of_them(store: Store, photos: Path) -> None:
    result = train(store, f"imagefolder:{photos}", "--features", 100_000, "--views", 1)
    assert result.exit_code == 0, result.output
    assert store.load_task("kind").state["index"].tolist() == [*range(1920)]


def test_a_class_with_one_photo(store: Store, photos: Path, tmp_path: Path) -> None:
    lines = (photos / "list.csv").read_text().splitlines()
    rows = [f"{photos}/{line}" for line in lines[1:]]
    rare = [
        row.rpartition(",")[0] + (",rare" if i == 5 else ",usual") for i, row in enumerate(rows)
    ]
    rare[-1] = rare[-1].replace("usual", "rare")
    (tmp_path / "rare.csv").write_text("\n".join([lines[0], *rare]) + "\n")
    result = train(store, f"csv:{tmp_path}/rare.csv?label=kind")
    assert result.exit_code == 1
    assert "rare (1), expected 2 or more of each class" in result.stderr
    assert store.tasks() == ()


def test_ctrl_c_keeps_what_was_computed(
    store: Store, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "BLOCK_PICTURES", 5)
    compute, calls = feature_cache.FeatureCache._compute, []

    def interrupted(self: feature_cache.FeatureCache, *given: Any) -> Any:
        calls.append(len(given[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(self, *given)

    monkeypatch.setattr(feature_cache.FeatureCache, "_compute", interrupted)
    result = train(store, f"imagefolder:{photos}", "--views", 1)
    assert result.exit_code == 130
    assert "Traceback" not in result.output
    assert store.tasks() == ()
    (folder,) = (store.root / "features").iterdir()
    held = [json.loads(path.read_text())["keys"] for path in folder.rglob("*.json")]
    assert [len(keys) for keys in held] == [5, 5]

    calls[:] = [0] * 3
    assert train(store, f"imagefolder:{photos}", "--views", 1).exit_code == 0
    assert sum(calls) == COUNT - 10


def test_a_damaged_cache_is_one_line(store: Store, photos: Path) -> None:
    data = f"imagefolder:{photos}"
    assert train(store, data).exit_code == 0
    block = next((store.root / "features").rglob("*.npy"))
    block.write_bytes(block.read_bytes()[:-9])
    result = train(store, data, task="other")
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 1
    assert f"{block} is damaged" in result.stderr
    assert store.tasks() == ("kind",)


def test_the_source_is_brought_with_the_first_readout(
    tmp_path: Path, weights: SourceWeights, photos: Path
) -> None:
    save_file(dict(weights.state), tmp_path / "w.safetensors")
    store = Store(tmp_path / "new")
    brought = ("--source", "resnet18", "--weights", tmp_path / "w.safetensors")
    result = train(store, f"imagefolder:{photos}", *brought, "--views", 1)
    assert result.exit_code == 0, result.output
    assert store.load_task("kind").source_sha256 == weights.fingerprint()
