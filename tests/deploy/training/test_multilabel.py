"""Tasks of which any number of labels may be right, from a CSV file to a graph's answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import snow_runtime
from snow_deploy.cli import main
from snow_deploy.data import open_data
from snow_deploy.data.loading import make_loader
from snow_deploy.data.multilabel import targets_of
from snow_deploy.errors import DataError, TrainingError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.paper.study import Study
from snow_deploy.stages.export import export_tasks
from snow_deploy.training.answers import read_answers
from snow_deploy.training.learner import Learner
from snow_deploy.training.options import TrainOptions, recipe_for
from snow_deploy.training.run import RunSettings, train_task, train_tasks
from snow_deploy.training.store import Store
from snow_deploy.training.task_requests import TaskRequest, check_together
from snow_runtime.pictures.preprocessing import prepare
from tests.conftest import copy_store, made_once

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.network import Scheme
    from tests.conftest import RandomWeights

LABELS = ("red", "green", "blue")
COUNT = 40
PLAIN = RunSettings(workers=0, baseline=False)


@dataclass(frozen=True)
class Trained:
    """A folder with pictures.csv, and a store with `tags` and `kind` of them."""

    root: Path

    @property
    def csv(self) -> Path:
        return self.root / "pictures.csv"

    @property
    def store(self) -> Store:
        return Store(self.root / "store")

    def splits(self, options: str = "labels=red,green,blue") -> Splits:
        return open_data(f"csv:{self.csv}?{options}")


def draw_pictures(root: Path) -> None:
    """Draw pictures whose channels are bright or dark, and list which are bright."""
    rng = np.random.default_rng(0)
    lines = ["file,split,red,green,blue,tags,kind"]
    for number in range(COUNT):
        bright = rng.integers(0, 2, 3)
        pixels = rng.integers(0, 60, (32, 32, 3)) + 180 * bright
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{number}.png")
        tags = ";".join(label for label, is_bright in zip(LABELS, bright, strict=True) if is_bright)
        split = "train" if number < 28 else "test"
        kind = "warm" if bright[0] > bright[2] else "other"
        lines.append(f"{number}.png,{split},{','.join(map(str, bright))},{tags},{kind}")
    (root / "pictures.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def options(scheme: Scheme = "snow", **others: Any) -> TrainOptions:
    form: dict[str, Any] = {"epochs": 2, "batch_size": 14, "image_size": 32, "precision": "fp32"}
    return TrainOptions(
        DeltaOptions(8, 8), recipe_for("steady", scheme), scheme=scheme, **{**form, **others}
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, random_weights: RandomWeights) -> Trained:
    """Train a task of several labels and one of one class on one pass of the source."""

    def make(root: Path) -> None:
        draw_pictures(root)
        made = Trained(root)
        made.store.put_source(random_weights("resnet18"))
        requests = [
            TaskRequest("tags", made.splits(), options()),
            TaskRequest("kind", made.splits("label=kind"), options()),
        ]
        train_tasks(made.store, requests, RunSettings(workers=0))

    return Trained(made_once(tmp_path_factory, "multilabel", make))


@pytest.fixture(scope="module")
def graph(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "snow.onnx"
    export_tasks(trained.store, None, path)
    return path


def logits_of(trained: Trained, task: str) -> NDArray[np.float64]:
    """Answer the test pictures with torch: [12, C]."""
    record = trained.store.load_task(task)
    source = Source(trained.store.source_weights())
    network, pictures = record.build(source), trained.splits().final[1]
    prepared = [prepare(pictures.load(i), record.preprocessing) for i in range(len(pictures))]
    images = torch.from_numpy(np.stack(prepared)).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        logits: NDArray[np.float64] = network(images, source(images)).double().numpy()
    return logits


def average_precision(scores: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    """Sum precision over the steps of recall, as the definition goes."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        found = (chosen & present).sum()
        total += found / chosen.sum() * (found / present.sum() - recall)
        recall = found / present.sum()
    return float(total)


@pytest.mark.slow
def test_the_record_says_what_the_network_does(trained: Trained) -> None:
    record = trained.store.load_task("tags")
    logits = logits_of(trained, "tags")
    present = targets_of(trained.splits().final[1]) > 0

    metrics = record.metrics
    assert record.answers == "several"
    assert record.labels == LABELS
    right = (logits >= 0) == present
    assert metrics["accuracy"] == pytest.approx(right.mean())
    assert metrics["exact_match"] == pytest.approx(right.all(1).mean())
    precisions = [average_precision(logits[:, n], present[:, n]) for n in range(3)]
    assert metrics["mean_average_precision"] == pytest.approx(np.mean(precisions))
    loss = np.mean(np.logaddexp(0, np.where(present, -logits, logits)))
    assert metrics["loss"] == pytest.approx(loss, rel=1e-4)
    assert "accuracy_top5" not in metrics
    assert metrics["accuracy"] > 0.6
    assert metrics["linear_accuracy"] > 0.6
    with np.load(trained.store.run_path("tags") / "answers.npz") as kept:
        assert kept["present"].tolist() == present.tolist()
        np.testing.assert_allclose(kept["logits"], logits, atol=1e-4)
    assert read_answers(trained.store.run_path("tags")) is None  # the paper's comparisons skip it


def test_a_task_of_classes_beside_it_is_as_ever(trained: Trained) -> None:
    record = trained.store.load_task("kind")

    assert record.answers == "one"
    assert set(record.metrics) >= {"accuracy", "accuracy_top5", "linear_accuracy"}
    assert "exact_match" not in record.metrics


def test_the_curve_has_the_share_of_right_answers(trained: Trained) -> None:
    curve = (trained.store.run_path("tags") / "curve.csv").read_text(encoding="utf-8")

    heading, *rows = curve.splitlines()
    assert heading.startswith("epoch,loss,accuracy,test_loss,test_accuracy")
    last = dict(zip(heading.split(","), map(float, rows[-1].split(",")), strict=True))
    metrics = trained.store.load_task("tags").metrics
    assert last["test_accuracy"] == pytest.approx(metrics["accuracy"], abs=1e-4)
    assert last["test_loss"] == pytest.approx(metrics["loss"], rel=1e-3)


def test_a_graph_answers_with_a_sigmoid_for_each_label(trained: Trained, graph: Path) -> None:
    pictures = trained.splits().final[1]
    expected = torch.from_numpy(logits_of(trained, "tags")).sigmoid().numpy()

    with snow_runtime.load(graph) as model:
        results = model.batch([pictures.load(index) for index in range(len(pictures))])

    found = np.stack([result["tags"].probabilities for result in results])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found.sum(1) > 1.01).any()
    assert [result["tags"].answers for result in results] == ["several"] * len(results)
    for result, row in zip(results, expected, strict=True):
        present = {label for label, share in zip(LABELS, row, strict=True) if share >= 0.5}
        assert {label for label, _ in result["tags"].present()} == present
        assert sum(result["kind"].probabilities) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_predict_and_inspect_say_so(trained: Trained, graph: Path) -> None:
    def run(*arguments: object) -> str:
        result = CliRunner().invoke(main, [*map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.output

    (document,) = json.loads(run("predict", graph, trained.root / "29.png", "--json"))
    assert "present" in document["tasks"]["tags"]
    assert "present" not in document["tasks"]["kind"]
    assert "3 labels, several at once  red" in run("inspect", graph)
    for path in (graph, trained.store.task_path("tags")):
        tasks = {task["name"]: task for task in json.loads(run("inspect", path, "--json"))["tasks"]}
        assert tasks["tags"]["answers"] == "several"
        assert "exact_match" in tasks["tags"]["metrics"]
    assert "FAILS" not in run("verify", graph, "--store", trained.store.root, "--batch-sizes", 1)


@pytest.mark.parametrize("scheme", ["fo", "fe", "ft", "mp", "pn"])
def test_every_scheme_learns_such_tasks(
    trained: Trained, tmp_path: Path, random_weights: RandomWeights, scheme: Scheme
) -> None:
    store = Store(tmp_path / "store")
    store.put_source(random_weights("resnet18" if scheme == "fe" else "mnasnet0_5"))

    train_task(store, "tags", trained.splits(), options(scheme, epochs=1), PLAIN)

    record = store.load_task("tags")
    assert (record.answers, record.options.scheme) == ("several", scheme)
    assert 0 <= record.metrics["exact_match"] <= record.metrics["accuracy"] <= 1


def test_one_label_alone_is_a_question_of_yes_and_no(trained: Trained, tmp_path: Path) -> None:
    store = copy_store(trained.store, tmp_path / "store")

    train_task(store, "red", trained.splits("labels=red"), options(), RunSettings(workers=0))

    metrics = store.load_task("red").metrics
    assert metrics["exact_match"] == metrics["accuracy"]
    export_tasks(store, ["red"], tmp_path / "red.onnx")
    with snow_runtime.load(tmp_path / "red.onnx") as model:
        assert model(Image.new("RGB", (32, 32)))["red"].probabilities.shape == (1,)


def test_the_command_line_says_what_it_trains(trained: Trained, tmp_path: Path) -> None:
    store = copy_store(trained.store, tmp_path / "store")

    result = CliRunner().invoke(
        main,
        [
            *("train", "--task", "more", "--store", str(store.root), "--workers", "0"),
            *("--data", f"csv:{trained.csv}?label=tags&separator=;", "--no-baseline"),
            *("--epochs", "1", "--batch-size", "14", "--image-size", "32", "--precision", "fp32"),
            *("--recipe", "steady"),
        ],
    )

    assert result.exit_code == 0, result.output
    assert "task more: any of 3 labels, 28 train and 12 test pictures" in result.output
    metrics = store.load_task("more").metrics
    assert f"test accuracy {metrics['accuracy']:.4f}, all labels right" in result.output
    assert f"mAP {metrics['mean_average_precision']:.4f}, " in result.output
    assert store.load_task("more").labels == ("blue", "green", "red")


def test_learning_without_forgetting_is_for_classes(trained: Trained) -> None:
    request = TaskRequest("tags", trained.splits(), options("lf"))

    with pytest.raises(TrainingError, match=r"any number of labels, and --scheme lf learns tasks"):
        check_together([request])


def test_the_papers_tables_are_of_classes(trained: Trained, tmp_path: Path) -> None:
    data = {"tags": f"csv:{trained.csv}?labels=red,blue"}

    with pytest.raises(DataError, match=r"'tags' may have any number of labels"):
        Study(tmp_path, trained.store, data).splits("tags")


def test_a_run_is_not_gone_on_with_other_sets(trained: Trained, tmp_path: Path) -> None:
    store = copy_store(trained.store, tmp_path / "store")
    other = trained.splits()
    requests = [TaskRequest("tags", other, options()), TaskRequest("kind", other, options())]

    with pytest.raises(TrainingError, match=r"'kind' that was trained otherwise .*other labels"):
        train_tasks(store, requests, PLAIN)
    cells = trained.splits("label=tags&separator=;")
    assert cells.fingerprint == trained.splits("labels=blue,green,red").fingerprint
    assert cells.fingerprint != trained.splits("label=kind").fingerprint


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_multi_hot(trained: Trained, workers: int) -> None:
    splits = trained.splits()
    preprocessing = trained.store.load_task("tags").preprocessing
    loader = make_loader(
        splits.train,
        preprocessing=preprocessing,
        train=True,
        augmentation="none",
        batch_size=9,
        seed=0,
        workers=workers,
    )

    for batch in loader:
        assert batch.targets.dtype == torch.float32
        expected = targets_of(splits.train)[batch.indices.numpy()]
        assert batch.targets.tolist() == expected.tolist()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_of_each_label_alone(trained: Trained, smoothing: float) -> None:
    recipe = replace(recipe_for("steady"), label_smoothing=smoothing)
    network = trained.store.load_task("tags").build(Source(trained.store.source_weights()))
    learner = Learner("tags", network, trained.splits(), replace(options(), recipe=recipe))
    rng = np.random.default_rng(1)
    logits, present = rng.normal(0, 4, (5, 3)), rng.integers(0, 2, (5, 3))

    wanted = np.where(present, 1 - smoothing / 2, smoothing / 2)
    shares = 1 / (1 + np.exp(-logits))
    expected = -(wanted * np.log(shares) + (1 - wanted) * np.log(1 - shares)).mean()

    found = learner.criterion(torch.from_numpy(logits).float(), torch.from_numpy(present).float())
    assert float(found) == pytest.approx(expected, rel=1e-5)
    half = learner.criterion(torch.from_numpy(logits).bfloat16(), torch.from_numpy(present).float())
    assert half.dtype == torch.float32
