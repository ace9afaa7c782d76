from __future__ import annotations

import csv
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from snow_deploy.training.curve import Curve

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.store import Store

COLUMNS = [
    "epoch",
    "loss",
    "accuracy",
    "test_loss",
    "test_accuracy",
    "lr",
    "images_per_s",
    "seconds",
    "skipped",
]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Learning:
    """A learner as the curve sees it."""

    def __init__(self, name: str = "shape", prefix: str = "") -> None:
        self.name, self.prefix, self.split = name, prefix, "val"
        self.failure: str | None = None
        self.optimizer = SimpleNamespace(param_groups=[{"lr": 0.0}])

    @property
    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])


def make(path: Path, *, echo: bool = False, **learning: str) -> Curve:
    learner: Any = Learning(**learning)
    return Curve(path / "curve.csv", learner, echo=echo)


def run_epoch(curve: Curve, epoch: int, *, first: bool = True, **measured: float) -> None:
    """Let the callback see one epoch, in which the schedule moves the rate on."""
    curve.learner.optimizer.param_groups[0]["lr"] = 0.1 / (epoch + 1)
    trainer: Any = SimpleNamespace(
        current_epoch=epoch,
        max_epochs=4,
        is_global_zero=first,
        callback_metrics={key: torch.tensor(value) for key, value in measured.items()},
    )
    module: Any = SimpleNamespace(skipped={"a", "b"})
    curve.on_train_epoch_start(trainer, module)
    curve.learner.optimizer.param_groups[0]["lr"] = 1e-9
    curve.on_train_epoch_end(trainer, module)


def test_one_row_an_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = make(tmp_path, echo=True)
    run_epoch(curve, 0, loss_epoch=2.5, accuracy=0.25, val_loss=2, val_accuracy=0.5, images_per_s=9)
    run_epoch(curve, 1, loss_epoch=1.5, accuracy=0.5, val_loss=1, val_accuracy=0.75)

    rows = read(tmp_path / "curve.csv")

    assert list(rows[0]) == [name.replace("test", "val") for name in COLUMNS]
    assert [(row["epoch"], row["loss"], row["val_accuracy"]) for row in rows] == [
        ("1", "2.5", "0.5"),
        ("2", "1.5", "0.75"),
    ]
    assert [float(row["lr"]) for row in rows] == [0.1, 0.05]  # the rate that the epoch began with
    assert [row["skipped"] for row in rows] == ["2", "2"]
    assert rows[1]["images_per_s"] == "nan"
    assert all(float(row["seconds"]) >= 0 for row in rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("epoch 1/4  loss 2.500  accuracy 0.250  val 0.500  9 images/s")
    assert len(lines) == 2


def test_a_resumed_run_keeps_the_rows(tmp_path: Path) -> None:
    first = make(tmp_path)
    run_epoch(first, 0, loss_epoch=3.0)
    resumed = make(tmp_path)
    resumed.load_state_dict(first.state_dict())
    run_epoch(resumed, 1, loss_epoch=2.0)

    assert [row["loss"] for row in read(tmp_path / "curve.csv")] == ["3", "2"]


def test_only_the_first_process_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = make(tmp_path, echo=True)

    run_epoch(curve, 0, first=False, loss_epoch=3.0)

    assert len(curve.rows) == 1
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_the_curve_of_a_run(trained_store: Store) -> None:
    rows = read(trained_store.run_path("shape") / "curve.csv")

    assert list(rows[0]) == COLUMNS
    assert [row["epoch"] for row in rows] == ["1", "2"]
    # 0.2 at 256 is 0.0125 at 16; a tenth of it from the third of six steps on.
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.0125, 0.0125])
    metrics = trained_store.load_task("shape").metrics
    assert float(rows[-1]["test_accuracy"]) == pytest.approx(metrics["accuracy"])
    assert float(rows[-1]["test_loss"]) == pytest.approx(metrics["loss"], rel=1e-4)
    assert metrics["images_per_s"] > 0
