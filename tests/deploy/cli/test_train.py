from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from snow_deploy.cli import main
from snow_deploy.models.options import DeltaOptions
from snow_deploy.training.options import RECIPES, TrainOptions, recipe_for
from snow_deploy.training.outcome import TrainingOutcome
from snow_deploy.training.run import RunSettings
from snow_deploy.training.store import Store
from tests.conftest import copy_store

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.task_requests import TaskRequest

DATA = "demo:shape?train=48&test=20&size=64"
SHORT = ["--epochs", "2", "--batch-size", "16", "--image-size", "64", "--precision", "fp32"]
RUN = [*SHORT, "--lr", "0.0125", "--workers", "0"]  # the options of the fixture `short`


@pytest.fixture
def weights_file(weights: SourceWeights, tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    save_file(dict(weights.state), path)
    return path


@pytest.fixture
def store(tmp_path: Path, trained_store: Store) -> Store:
    """Give a copy of the trained store to change."""
    return copy_store(trained_store, tmp_path / "store")


def train(store: Store, *arguments: str, task: str = "shape", data: str = DATA) -> Result:
    fixed = ["train", "--task", task, "--data", data, "--store", str(store.root)]
    return CliRunner().invoke(main, [*fixed, *arguments])


@dataclass
class Call:
    """What the command asked `train_tasks` for, of one task."""

    store: Store
    name: str
    splits: Splits
    options: TrainOptions
    settings: RunSettings


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, trained_store: Store) -> list[Call]:
    """Put something in the place of the training that takes notes."""
    made: list[Call] = []

    def note(store: Store, requests: list[TaskRequest], settings: RunSettings) -> TrainingOutcome:
        made.extend(Call(store, r.name, r.splits, r.options, settings) for r in requests)
        record = trained_store.load_task("shape")
        metrics = {**record.metrics, "accuracy": 0.75, "linear_accuracy": 0.5, "skipped": 3.0}
        return TrainingOutcome((replace(record, metrics=metrics),), (), {})

    monkeypatch.setattr("snow_deploy.training.run.train_tasks", note)
    # The store is everybody's: nothing is drawn into the run that the record is really of.
    monkeypatch.setattr(
        "snow_deploy.training.reliability_plot.draw_new_reliability", lambda _folder: None
    )
    return made


def test_a_task_from_a_weights_file_into_a_new_store(
    tmp_path: Path, weights_file: Path, trained_store: Store
) -> None:
    """The whole way: the same bits as through Python."""
    store = Store(tmp_path / "store")

    result = train(
        store, "--source", "resnet18", "--weights", str(weights_file), *RUN, "--no-baseline"
    )

    assert result.exit_code == 0, result.output
    record, expected = store.load_task("shape"), trained_store.load_task("shape")
    assert all(torch.equal(value, record.state[key]) for key, value in expected.state.items())
    assert store.source_weights().origin == "w.safetensors"
    first, *epochs, trust, last = result.stdout.splitlines()
    assert first == (
        "task shape: 6 classes, 48 train and 20 test pictures, 2 epochs, learning rate 0.0125"
    )
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert trust == (
        "task shape: no temperature, for want of held-out pictures; calibration error "
        f"{record.metrics['calibration_error']:.4f}, Brier score {record.metrics['brier']:.4f}"
    )
    plot = store.run_path("shape") / "reliability.png"
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert last.startswith(f"task shape: test accuracy {record.metrics['accuracy']:.4f}, 0.36 M")
    assert last.endswith(f"-> {store.task_path('shape')}")


def test_defaults_are_the_papers(trained_store: Store, calls: list[Call]) -> None:
    result = train(trained_store, task="new")

    assert result.exit_code == 0, result.output
    (call,) = calls
    assert call.name == "new"
    assert call.store.root == trained_store.root
    assert call.options == TrainOptions(hold_out=0.1)
    assert call.settings == RunSettings(workers=2)
    assert len(call.splits.train) == 48


def test_what_is_held_out_is_said(trained_store: Store, calls: list[Call]) -> None:
    result = train(trained_store, "--hold-out", "0.5", "--right-share", "0.9", task="new")

    assert result.exit_code == 0, result.output
    (call,) = calls
    assert (call.options.hold_out, call.options.right_share) == (0.5, 0.9)
    assert result.stdout.splitlines()[0].startswith(
        "task new: 6 classes, 24 train, 24 held-out and 20 test pictures, 90 epochs"
    )
    for option, value in (("--hold-out", "1"), ("--right-share", "1")):
        refused = train(trained_store, option, value, task="new")
        assert f"{option} is out of range" in refused.stderr
    refused = train(trained_store, "--scheme", "readout", "--hold-out", "0.2", task="new")
    assert "--scheme readout does not read --hold-out" in refused.stderr


def test_every_option_arrives(trained_store: Store, calls: list[Call]) -> None:
    arguments = (
        "--k 4 --width 16 --sigma2 0.5 --pooling-norm none --epochs 3 --batch-size 64 "
        "--pooling-weights clean --pooling-order descending "
        "--recipe steady --lr 0.2 --image-size 96 --precision bf16 --seed 5 --workers 1 "
        "--compile --no-baseline --resume"
    )

    result = train(trained_store, *arguments.split())

    assert result.exit_code == 0, result.output
    (call,) = calls
    assert call.settings == RunSettings(workers=1, resume=True, baseline=False, compile_source=True)
    assert call.options.delta == DeltaOptions(
        4, 16, 0.5, "none", pooling_weights="clean", pooling_order="descending"
    )
    assert replace(call.options.recipe, lr=1.0) == replace(RECIPES["steady"], lr=1.0)
    rest = {"epochs": 3, "batch_size": 64, "image_size": 96, "precision": "bf16", "seed": 5}
    assert {name: getattr(call.options, name) for name in rest} == rest


@pytest.mark.parametrize("recipe", ["paper", "steady"])
def test_a_scheme_arrives_with_its_recipe(
    trained_store: Store, calls: list[Call], recipe: str
) -> None:
    train(trained_store, "--recipe", recipe, "--scheme", "fe", "--width", "4")
    train(trained_store, "--recipe", recipe, "--scheme", "lf", "--after", "digit", "--lr", "0.3")
    train(trained_store, "--recipe", recipe, "--subscription", "conv1x1", "--k", "4")

    extract, forgetful, projected = (call.options for call in calls)
    assert (extract.scheme, extract.after, extract.delta.width_divisor) == ("fe", None, 4)
    assert extract.recipe == recipe_for(recipe, "fe")
    assert extract.learning_rate() == pytest.approx(0.1)
    assert (forgetful.scheme, forgetful.after) == ("lf", "digit")
    assert forgetful.recipe.classifier_start == "random"
    assert forgetful.learning_rate() == pytest.approx(0.3)
    assert projected.delta == DeltaOptions(k_divisor=4, subscription="conv1x1")
    assert projected.recipe == RECIPES[recipe]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--scheme ft --k 8", "--scheme ft does not read --k; leave it out"),
        ("--scheme fe --sigma2 0.1", "--scheme fe does not read --sigma2"),
        ("--scheme pn --width 8", "--scheme pn does not read --width"),
        ("--scheme mp --pooling-norm after", "--scheme mp does not read --pooling-norm"),
        ("--scheme fo --subscription all", "--scheme fo does not read --subscription"),
        ("--subscription all --k 8", "--subscription all does not read --k"),
        ("--subscription conv1x1 --sigma2 1", "--subscription conv1x1 does not read --sigma2"),
        ("--after digit", "--scheme snow --subscription pooling does not read --after"),
    ],
)
def test_options_that_nothing_reads_are_refused(
    trained_store: Store, calls: list[Call], arguments: str, message: str
) -> None:
    result = train(trained_store, *arguments.split())

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert calls == []


def test_the_papers_recipe_has_the_papers_batch(trained_store: Store, calls: list[Call]) -> None:
    train(trained_store, "--scheme", "ft", "--decay-epochs", "5")
    train(trained_store, "--scheme", "ft", "--recipe", "steady")

    paper, steady = (call.options for call in calls)
    assert (paper.batch_size, paper.learning_rate()) == (128, 0.05)
    assert [paper.recipe.rate(step, 1, 12) for step in (4, 5, 10)] == pytest.approx([1, 0.1, 0.01])
    assert steady.batch_size == 256
    refused = train(trained_store, "--recipe", "steady", "--decay-epochs", "5")
    assert refused.exit_code == 2
    assert "does not read --decay-epochs" in " ".join(refused.stderr.split())


@pytest.mark.parametrize("recipe", ["paper", "steady"])
def test_lr_is_the_rate_at_this_batch_size(
    trained_store: Store, calls: list[Call], recipe: str
) -> None:
    train(trained_store, "--recipe", recipe, "--batch-size", "32", "--lr", "0.03")
    train(trained_store, "--recipe", recipe, "--batch-size", "32")

    given, default = (call.options for call in calls)
    assert given.learning_rate() == pytest.approx(0.03)
    assert default.learning_rate() == pytest.approx(RECIPES[recipe].lr * 32 / 256)


def test_what_it_reports(trained_store: Store, calls: list[Call]) -> None:
    result = train(trained_store)

    assert len(calls) == 1
    assert "task shape: test accuracy 0.7500, linear classifier 0.5000, 0.36 M" in result.stdout
    assert result.stderr == "3 pictures could not be read\n"


def test_only_torchruns_first_process_reports(
    trained_store: Store, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert train(trained_store).output == ""

    monkeypatch.setenv("RANK", "0")
    assert "learning rate 4\n" in train(trained_store).stdout  # 1.0 at 256, four times over
    assert len(calls) == 2


@pytest.mark.usefixtures("calls")
def test_a_later_task_uses_the_stores_source(
    store: Store, weights_file: Path, tmp_path: Path
) -> None:
    before = store.source_path.stat().st_mtime_ns

    for arguments in ([], ["--source", "resnet18"], ["--weights", str(weights_file)]):
        result = train(store, *arguments)
        assert result.exit_code == 0, result.output
    assert store.source_path.stat().st_mtime_ns == before

    other = train(store, "--source", "resnet34")
    assert other.exit_code == 1
    assert (
        f"error: {store.root} holds a resnet18, not a resnet34. Leave --source out" in other.stderr
    )
    moved = {**store.source_weights().state}
    moved["bn1.bias"] = moved["bn1.bias"] + 1
    save_file(moved, tmp_path / "other.safetensors")
    other = train(store, "--weights", str(tmp_path / "other.safetensors"))
    assert other.exit_code == 1
    assert "holds the source resnet18" in other.stderr


@pytest.mark.slow
def test_a_refused_source_is_not_stored(
    tmp_path: Path, weights: SourceWeights, weights_file: Path, calls: list[Call]
) -> None:
    store = Store(tmp_path / "store")
    broken = {**weights.state, "bn1.running_var": -weights.state["bn1.running_var"]}
    torch.save({"model": broken}, tmp_path / "broken.pth.tar")
    small = ["--source", "resnet18", "--weights"]

    for arguments, message in (
        ([*small, str(tmp_path / "broken.pth.tar")], "variances in model.bn1.running_var"),
        ([*small, str(weights_file), "--stride-in-1x1"], "resnet18 has no bottleneck"),
        ([*small, str(weights_file), "--weights-key", "ema"], "holds nothing called 'ema'"),
        (["--source", "resnet34", "--weights", str(weights_file)], "give --source resnet18"),
    ):
        result = train(store, *arguments)
        assert result.exit_code == 1
        assert message in result.stderr
        assert not store.root.exists()
    assert calls == []
    assert train(store, *small, str(weights_file)).exit_code == 0


@pytest.mark.usefixtures("calls")
def test_which_weights_of_a_checkpoint(
    tmp_path: Path, weights: SourceWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubled = {key: value * 2 for key, value in weights.state.items()}
    torch.save({"state_dict": weights.state, "state_dict_ema": doubled}, tmp_path / "w.ckpt")
    given = ["--source", "resnet18", "--weights", str(tmp_path / "w.ckpt")]

    plain = train(Store(tmp_path / "plain"), *given)
    average = train(Store(tmp_path / "ema"), *given, "--weights-key", "state_dict_ema")
    monkeypatch.setenv("RANK", "1")
    silent = train(Store(tmp_path / "second"), *given)

    assert "note: w.ckpt holds several sets of weights" in plain.stderr
    assert "state_dict_ema passed over" in plain.stderr
    assert "taken for torchvision's resnet18, with RGB pictures" in plain.stderr
    assert "several" not in average.stderr
    kept = Store(tmp_path / "ema").source_weights()
    assert torch.equal(kept.state["conv1.weight"], doubled["conv1.weight"])
    assert (silent.exit_code, silent.stderr) == (0, "")


@pytest.mark.usefixtures("calls")
def test_labels_of_the_source(tmp_path: Path, weights_file: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("ape\nbée\ncat\ndog\nelk\nfox\ngnu\n", encoding="utf-8")
    named = ["--source", "resnet18", "--weights", str(weights_file), "--source-labels", str(labels)]

    result = train(Store(tmp_path / "store"), *named)
    assert result.exit_code == 0, result.output
    kept = Store(tmp_path / "store").source_weights().labels
    assert kept == ("ape", "bée", "cat", "dog", "elk", "fox", "gnu")

    labels.write_bytes("\ufeffa\nb\nc\nd\ne\nf\ng\n".encode())  # of a store that is there already
    result = train(Store(tmp_path / "store"), "--source-labels", str(labels))
    assert result.exit_code == 0, result.output
    assert Store(tmp_path / "store").source_weights().labels == tuple("abcdefg")

    labels.write_bytes(b"ape\nb\xe9e\n")
    result = train(Store(tmp_path / "other"), *named)
    assert (result.exit_code, "cannot be read" in result.stderr) == (1, True)
    labels.write_text("ape\n\nbee\n", encoding="utf-8")
    result = train(Store(tmp_path / "other"), *named)
    assert "line 2 of" in result.stderr

    labels.write_text("ape\n", encoding="utf-8")
    result = train(Store(tmp_path / "other"), *named)
    assert result.exit_code == 1
    assert "1 labels were given for a source of 7 classes" in result.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "missing.pth"], "there is no weights file missing.pth"),
        (["--weights", "imagenet9"], "resnet18 has no weights called 'imagenet9'"),
        (["--k", "0"], "--k is out of range"),
        (["--width", "-1"], "--width is out of range"),
        (["--sigma2", "-1"], "--sigma2 is out of range"),
        (["--epochs", "0"], "--epochs is out of range"),
        (["--batch-size", "1"], "--batch-size is out of range"),
        (["--batch-size", "0", "--lr", "1"], "--batch-size is out of range"),
        (["--lr", "0"], "--lr is out of range"),
        (["--seed", "-1"], "--seed is out of range"),
    ],
)
def test_values_out_of_range_are_one_line(
    trained_store: Store, arguments: list[str], message: str
) -> None:
    result = train(trained_store, *arguments)

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        ("Shape", DATA, "A task cannot be called 'Shape'"),
        ("source", DATA, "A task cannot be called 'source'"),
        ("new", "demo:size", 'no demo data "size"'),
        ("new", "shape", "names no known kind of data"),
        ("new", "imagefolder:/no/such/folder", "/no/such/folder"),
        ("shape", DATA, "already has a task 'shape'. Give --overwrite"),
    ],
)
def test_tasks_and_data_that_cannot_be_used(
    trained_store: Store, task: str, data: str, message: str
) -> None:
    result = train(trained_store, *RUN, task=task, data=data)

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_nothing_to_resume(trained_store: Store) -> None:
    result = train(trained_store, *RUN, "--resume", task="new")

    assert result.exit_code == 1
    assert "there is no unfinished run of task 'new'" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--recipe", "quick"],
        ["--precision", "int4"],
        ["--k", "x"],
        ["--workers", "-1"],
        ["--resume", "--overwrite"],
    ],
)
def test_values_that_are_no_choice(trained_store: Store, arguments: list[str]) -> None:
    assert train(trained_store, *arguments).exit_code == 2


@pytest.mark.slow
def test_ctrl_c(store: Store) -> None:
    """A real signal to a real process."""
    arguments = ["train", "--task", "new", "--data", DATA, "--store", str(store.root), *RUN]
    # A shell that started the tests in the background may have told them to ignore the signal.
    heeding = ["env", "--default-signal=INT"]
    command = [*heeding, sys.executable, "-u", "-m", "snow_deploy", *arguments, "--epochs", "50"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 2/50"):
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=120)

    assert process.returncode == 130, errors
    assert "go on with: snow-deploy train --task new --resume" in errors
    assert "Traceback" not in errors
    assert store.tasks() == ("digit", "shape")
    again = train(store, *RUN, "--epochs", "50", task="new")
    assert "a run of task 'new' in" in again.stderr
    assert "Give --resume to go on with it" in again.stderr


def test_what_is_odd_about_the_data_is_told_once(
    tmp_path: Path, trained_store: Store, calls: list[Call]
) -> None:
    lines = [f"{n}.jpg,{('cat', 'Cat', 'dog')[n % 3]},{n % 2}\n" for n in range(60)]
    (tmp_path / "a.csv").write_text("FILE,one,two\n" + "".join(lines) + "x.jpg,,1\n")
    data = f"csv:{tmp_path}/a.csv?label=one"

    result = train(trained_store, "--task", "other", "--data", data, task="new", data=data)

    assert result.exit_code == 0, result.output
    assert len(calls) == 2
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert notes[0] == f'note: left out of {tmp_path}/a.csv: 1 of 61 rows, empty under "one"'
    assert notes[2].startswith('note: the labels "Cat" and "cat" count as 2 classes')
    assert len(notes) == 3
