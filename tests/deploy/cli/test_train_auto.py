"""`train --scheme auto`: its options, what it refuses, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.training.outcome import TrainingOutcome
from tests.conftest import copy_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from click.testing import Result

    from snow_deploy.training.choose_scheme import SchemeRequest
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_requests import TaskRequest

DATA = "demo:colour?train=48&test=12&size=32"
SMALL = ["--image-size", "32", "--workers", "0", "--views", "1", "--features", "1920"]
STEPS = ["--epochs", "1", "--batch-size", "16", "--recipe", "steady", "--precision", "fp32"]


def train(store: Store, *arguments: str, task: str = "door", data: str = DATA) -> Result:
    fixed = ["train", "--task", task, "--data", data, "--store", str(store.root)]
    return CliRunner().invoke(main, [*fixed, *arguments])


def test_it_says_what_it_found_and_stores_a_readout(trained_store: Store, tmp_path: Path) -> None:
    store = copy_store(trained_store, tmp_path / "store")

    result = train(store, "--scheme", "auto", "--delta", "never", *SMALL, *STEPS)

    assert result.exit_code == 0, result.output
    first, readout, most, cost, why, trust, last = result.stdout.splitlines()
    assert first.endswith("a readout, or a delta of 1 epochs, learning rate 0.0625")
    assert readout.startswith("task door: readout: ")
    assert "at 95 %) by cross-validation on 48 training pictures" in readout
    assert most.startswith("task door: at most a delta could bring 0.")
    assert "of the source's multiply-adds" in cost
    assert why == "task door: no trial: the readout is stored, as --delta never asks"
    assert trust.startswith("task door: temperature ")
    assert " by 48 pictures (cross-validation), calibration error 0." in trust
    assert last.startswith("task door: test accuracy ")
    assert store.load_task("door").options.scheme == "readout"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SchemeRequest]:
    found: list[SchemeRequest] = []

    def note(_: Store, request: SchemeRequest, *__: object) -> TrainingOutcome:
        found.append(request)
        return TrainingOutcome((), (), {})

    monkeypatch.setattr("snow_deploy.training.choose_scheme.train_chosen", note)
    return found


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainOptions]:
    found: list[TrainOptions] = []

    def note(_: Store, requests: Sequence[TaskRequest], *__: object) -> TrainingOutcome:
        found.extend(each.options for each in requests)
        return TrainingOutcome((), (), {})

    monkeypatch.setattr("snow_deploy.training.any_scheme.train_any", note)
    return found


@pytest.mark.parametrize(
    "steps",
    [
        STEPS,
        ["--lr", "0.3", "--decay-epochs", "4", "--k", "4"],
        ["--smallest-crop", "0.7", "--seed", "3"],
    ],
)
def test_its_options_are_those_of_either_scheme(
    trained_store: Store, asked: list[SchemeRequest], trained: list[TrainOptions], steps: list[str]
) -> None:
    """So a delta that was interrupted is gone on with by `--scheme snow --resume`."""
    fits = ["--views", "3", "--features", "7", "--class-weights", "balanced"]
    both = [each for each in steps if each in {"--smallest-crop", "0.7", "--seed", "3"}]
    assert train(trained_store, "--scheme", "auto", *fits, *steps).exit_code == 0
    assert train(trained_store, "--scheme", "snow", *steps).exit_code == 0
    assert train(trained_store, "--scheme", "readout", *fits, *both).exit_code == 0

    (request,) = asked
    snow, readout = trained
    assert not request.delta.differences(snow)
    assert request.readout.recipe == readout.recipe
    assert request.readout.readout == readout.readout
    assert request.readout.seed == readout.seed
    assert request.readout.scheme == "readout"
    assert request.which == "auto"


def test_several_tasks_are_chosen_one_by_one(
    trained_store: Store, asked: list[SchemeRequest]
) -> None:
    more = ["--task", "form", "--data", DATA.replace("colour", "shape"), "--delta", "always"]

    assert train(trained_store, "--scheme", "auto", *more).exit_code == 0

    assert [(each.name, each.which) for each in asked] == [("door", "always"), ("form", "always")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sweep", "scheme=auto"], "takes no --sweep"),
        (["--sweep", "scheme=readout,auto"], "takes no --sweep"),
        (["--scheme", "auto", "--sweep", "k=4,8"], "takes no --sweep"),
        (["--delta", "always"], "--scheme snow --subscription pooling does not read --delta"),
        (["--scheme", "readout", "--delta", "never"], "--scheme readout does not read --delta"),
        (["--scheme", "auto", "--after", "shape"], "does not read --after"),
        (["--scheme", "auto", "--recipe", "steady", "--decay-epochs", "3"], "along a cosine"),
        (["--scheme", "auto", "--views", "0"], "--views is out of range"),
        (["--scheme", "readout", "--views", "0"], "--views is out of range"),
        (["--scheme", "auto", "--resume"], "--scheme auto has nothing to go on with"),
    ],
)
def test_what_is_refused(trained_store: Store, arguments: list[str], message: str) -> None:
    result = train(trained_store, *arguments)

    assert result.exit_code != 0
    assert message in result.stderr
    assert "door" not in trained_store.tasks()


def test_a_task_that_is_there_is_not_replaced(trained_store: Store) -> None:
    result = train(trained_store, "--scheme", "auto", task="shape", data=DATA)

    assert result.exit_code == 1
    assert "already has a task 'shape'" in result.stderr
