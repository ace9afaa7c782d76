from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from snow_deploy.cli import main
from snow_deploy.training.outcome import TrainingOutcome

if TYPE_CHECKING:
    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_requests import TaskRequest

DATA = "demo:shape?train=48&test=20&size=64"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TaskRequest]:
    """Put something in the place of the training that takes notes."""
    made: list[TaskRequest] = []

    def note(_store: Store, requests: list[TaskRequest], _settings: RunSettings) -> TrainingOutcome:
        made.extend(requests)
        return TrainingOutcome((), ("food-k4",), {"food-k8": "the loss became nan in epoch 2"})

    monkeypatch.setattr("snow_deploy.training.run.train_tasks", note)
    return made


def train(store: Store, *arguments: str) -> Result:
    fixed = ["train", "--store", str(store.root), "--task", "food", "--data", DATA]
    return CliRunner().invoke(main, [*fixed, *arguments])


def test_every_combination_is_a_task(trained_store: Store, asked: list[TaskRequest]) -> None:
    train(trained_store, "--sweep", "k=4,8", "--sweep", "sigma2=1e-3,0.5", "--width", "4")

    assert [
        (each.name, each.options.delta.k_divisor, each.options.delta.sigma2) for each in asked
    ] == [
        ("food-k4-sigma2_1e-3", 4, 1e-3),
        ("food-k4-sigma2_0p5", 4, 0.5),
        ("food-k8-sigma2_1e-3", 8, 1e-3),
        ("food-k8-sigma2_0p5", 8, 0.5),
    ]
    assert {each.options.delta.width_divisor for each in asked} == {4}
    assert len({id(each.splits) for each in asked}) == 1


def test_schemes_and_subscriptions(trained_store: Store, asked: list[TaskRequest]) -> None:
    train(trained_store, "--sweep", "scheme=snow,fo,fe", "--k", "4")
    train(trained_store, "--sweep", "subscription=pooling,all")

    assert [(each.name, each.options.scheme) for each in asked[:3]] == [
        ("food-scheme_snow", "snow"),
        ("food-scheme_fo", "fo"),
        ("food-scheme_fe", "fe"),
    ]
    assert [each.options.delta.subscription for each in asked[3:]] == ["pooling", "all"]


def test_several_tasks_over_the_same_pictures(
    trained_store: Store, asked: list[TaskRequest]
) -> None:
    train(trained_store, "--task", "digit", "--data", DATA.replace("shape", "digit"))

    assert [(each.name, len(each.splits.labels)) for each in asked] == [("food", 6), ("digit", 10)]


def test_what_it_reports(trained_store: Store, asked: list[TaskRequest]) -> None:
    result = train(trained_store, "--sweep", "k=4,8")

    assert len(asked) == 2
    assert "task food-k4: skipped, it is in" in result.stdout
    assert result.exit_code == 1
    expected = "1 of 2 tasks were given up and are not stored (food-k8: the loss became nan"
    assert expected in " ".join(result.stderr.split())
    assert "Lower the --lr" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sweep", "batch-size=8,16"], "--batch-size cannot be swept: the tasks of a sweep"),
        (["--sweep", "seed=1,2"], "--seed cannot be swept"),
        (["--sweep", "k"], "expected k=VALUE,VALUE"),
        (["--sweep", "k=4,4"], "values that differ"),
        (["--sweep", "sigma2=1e-3,0.001"], "values that differ"),
        (["--sweep", "k=4,"], "values that differ"),
        (["--scheme", "ft", "--sweep", "--k=4,8"], "--scheme ft does not read --k"),
        (["--sweep", "k=4,many"], "'many' is not a valid integer"),
        (["--sweep", "k=4,8", "--sweep", "k=16"], "--k is given twice"),
        (["--sweep", "k=4,8", "--k", "16"], "--k is given twice"),
        (["--sweep", "scheme=snow,fo", "--sweep", "k=4,8"], "--scheme fo does not read --k"),
        (["--sweep", "recipe=paper,steady"], "Give --smallest-crop once, for all of them"),
        (["--task", "other"], "--task is given 2 times and --data 1 times"),
    ],
)
def test_what_cannot_be_swept(trained_store: Store, arguments: list[str], message: str) -> None:
    result = train(trained_store, *arguments)

    assert result.exit_code != 0
    assert message in " ".join(result.stderr.replace("│", " ").split())
