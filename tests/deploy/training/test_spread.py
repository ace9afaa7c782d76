"""Tasks that Ray spreads end as each does alone, to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("ray", reason="the extra scale brings Ray")

from snow_deploy.cli import main
from snow_deploy.errors import TrainingError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.training import spread
from snow_deploy.training.run import RunSettings
from snow_deploy.training.spread import train_spread
from snow_deploy.training.store import Store
from snow_deploy.training.task_requests import TaskRequest
from tests.conftest import copy_store

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.options import TrainOptions
    from tests.conftest import OpenDemo

PLAIN = RunSettings(workers=0, baseline=False)


@pytest.mark.slow
def test_a_sweep_spread_by_ray_ends_as_each_run_of_its_own(
    trained_store: Store, tmp_path: Path
) -> None:
    stores = [Store(tmp_path / name) for name in ("spread", "alone")]
    for store in stores:
        store.root.mkdir()
        os.link(trained_store.source_path, store.source_path)
    common = [
        *("--data", "demo:shape?train=16&test=8&size=32", "--image-size", "32"),
        *(
            "--precision",
            "fp32",
            "--epochs",
            "1",
            "--batch-size",
            "16",
            "--workers",
            "0",
            "--no-baseline",
            "--store",
        ),
    ]
    swept = ["train", "--task", "shape", "--sweep", "lr=0.1,0.2", *common, str(stores[0].root)]

    done = subprocess.run(
        [sys.executable, "-m", "snow_deploy", *swept, "--ray", "local"],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr
    assert "task shape-lr0p2: trained" in done.stderr
    assert stores[0].tasks() == ("shape-lr0p1", "shape-lr0p2")
    one = ["train", "--task", "shape-lr0p2", "--lr", "0.2", *common, str(stores[1].root)]
    assert CliRunner().invoke(main, one).exit_code == 0
    found, alone = (store.load_task("shape-lr0p2") for store in stores)
    for key, value in alone.state.items():
        assert torch.equal(found.state[key], value), key
    assert found.metrics["accuracy"] == alone.metrics["accuracy"]


def test_what_is_there_is_skipped_and_what_was_trained_otherwise_refused(
    trained_store: Store,
    tmp_path: Path,
    open_demo: OpenDemo,
    short: TrainOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread, "begin_ray", pytest.fail)
    store = copy_store(trained_store, tmp_path / "store")
    shape = TaskRequest("shape", open_demo("shape"), short)

    outcome = train_spread(store, [shape], PLAIN, "local")

    assert (outcome.records, outcome.trained_before) == ((), ("shape",))
    other = replace(shape, options=replace(short, delta=DeltaOptions(k_divisor=4)))
    with pytest.raises(TrainingError, match="was trained otherwise"):
        train_spread(store, [other], PLAIN, "local")


def test_torchrun_and_ray_exclude_each_other(
    trained_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(TrainingError, match="without torchrun"):
        train_spread(trained_store, [], PLAIN, "local")
