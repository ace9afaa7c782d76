"""Training on tars is training on the files that were packed into them, to the bit."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from snow_deploy.data import open_data
from snow_deploy.training.module import TaskModule
from snow_deploy.training.run import RunSettings, train_task
from snow_deploy.training.store import Store
from tests.runtime.score.jobs import write_tar

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.options import TrainOptions

PLAIN = RunSettings(workers=0, baseline=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write pictures into folders, and the same ones into tars, in the same order."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 3)):
        members: list[tuple[str, bytes]] = []
        for label in ("cat", "dog"):
            folder = tmp_path / "folders" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                path = folder / f"{number:03}.png"
                Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
                members += [
                    (f"{label}{number:03}.png", path.read_bytes()),
                    (f"{label}{number:03}.cls", label.encode()),
                ]
        half = len(members) // 4 * 2
        (tmp_path / "tars").mkdir(exist_ok=True)
        write_tar(tmp_path / "tars" / f"{split}-000.tar", members[:half])
        write_tar(tmp_path / "tars" / f"{split}-001.tar", members[half:])
    return tmp_path


def empty_store(folder: Path, like: Store) -> Store:
    store = Store(folder)
    store.root.mkdir()
    os.link(like.source_path, store.source_path)
    return store


def test_tars_train_as_folders_do_also_when_interrupted(
    photos: Path,
    trained_store: Store,
    short: TrainOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = replace(short, batch_size=8)
    tars = f"webdataset:{photos}/tars/{{train,test}}-{{000..001}}.tar"
    one, other = (empty_store(photos / name, trained_store) for name in ("one", "other"))
    train_task(one, "pets", open_data(f"imagefolder:{photos}/folders"), options, PLAIN)

    began = TaskModule.on_train_epoch_start
    with monkeypatch.context() as patch:

        def interrupted(self: TaskModule) -> None:
            if self.current_epoch == 1:
                raise KeyboardInterrupt
            began(self)

        patch.setattr(TaskModule, "on_train_epoch_start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_task(other, "pets", open_data(tars), options, PLAIN)
    train_task(other, "pets", open_data(tars), options, replace(PLAIN, resume=True))

    expected, found = one.load_task("pets"), other.load_task("pets")
    assert found.labels == expected.labels
    for key, value in expected.state.items():
        assert torch.equal(found.state[key], value), key
    assert found.metrics["accuracy"] == expected.metrics["accuracy"]
