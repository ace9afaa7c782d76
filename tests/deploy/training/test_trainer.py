from __future__ import annotations

import os
import signal
import threading
import warnings
from typing import TYPE_CHECKING, Any

import lightning
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from snow_deploy.errors import DamagedCheckpointError, StoreError
from snow_deploy.training.trainer import (
    Checkpoints,
    interruptible,
    make_trainer,
    quiet_lightning,
)

if TYPE_CHECKING:
    from pathlib import Path


class Linear(lightning.LightningModule):
    """Trains a handful of weights; may raise in the middle."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.error = error

    def training_step(self, batch: Tensor, _index: int) -> Tensor:
        if self.error is not None:
            raise self.error
        loss: Tensor = self.layer(batch).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(trainer: lightning.Trainer, error: BaseException | None = None) -> Linear:
    module = Linear(error)
    pictures: Any = torch.ones(4, 2)
    loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(pictures, batch_size=2)
    trainer.fit(module, loader)
    return module


@pytest.fixture
def trainer() -> lightning.Trainer:
    return make_trainer(2, [])


def test_one_device_unless_torchrun_says_otherwise(trainer: lightning.Trainer) -> None:
    assert (trainer.num_devices, trainer.num_nodes, trainer.world_size) == (1, 1, 1)
    assert trainer.max_epochs == 2


@pytest.mark.parametrize(("here", "everywhere"), [(2, 2), (2, 6), (1, 3)])
def test_torchrun_says_how_many_processes_and_machines(
    monkeypatch: pytest.MonkeyPatch, here: int, everywhere: int
) -> None:
    environment = {
        "TORCHELASTIC_RUN_ID": "none",
        "LOCAL_WORLD_SIZE": here,
        "WORLD_SIZE": everywhere,
        "RANK": 0,
        "LOCAL_RANK": 0,
        "GROUP_RANK": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 29500,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))

    trainer = make_trainer(1, [])

    assert (trainer.num_devices, trainer.num_nodes) == (here, everywhere // here)
    assert trainer.world_size == everywhere


@pytest.mark.parametrize(("precision", "lightnings"), [("fp32", "32-true"), ("bf16", "bf16-mixed")])
def test_precisions(precision: str, lightnings: str) -> None:
    assert make_trainer(1, [], precision=precision).precision == lightnings


@pytest.mark.parametrize(
    ("cuda", "bf16", "lightnings"),
    [
        (False, False, "32-true"),
        (False, True, "32-true"),
        (True, False, "32-true"),
        (True, True, "bf16-mixed"),
    ],
)
def test_the_automatic_precision_is_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, bf16: bool, lightnings: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)

    def supported(including_emulation: bool = True) -> bool:
        return bf16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(lightning, "Trainer", lambda **options: options)

    options: Any = make_trainer(1, [], precision="auto")

    assert options["precision"] == lightnings


def test_it_leaves_no_files(trainer: lightning.Trainer, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, quiet_lightning():
        patch.chdir(tmp_path)
        fit(trainer)

    assert list(tmp_path.iterdir()) == []


def test_checkpoints_where_a_callback_makes_them(tmp_path: Path) -> None:
    with quiet_lightning():
        fit(make_trainer(1, [ModelCheckpoint(dirpath=tmp_path, filename="last")]))

    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_ctrl_c_becomes_a_keyboard_interrupt_with_advice(trainer: lightning.Trainer) -> None:
    handler = signal.getsignal(signal.SIGINT)

    with (
        pytest.raises(KeyboardInterrupt, match="go on with --resume"),
        quiet_lightning(),
        interruptible(trainer, "go on with --resume"),
    ):
        fit(trainer, KeyboardInterrupt())

    assert signal.getsignal(signal.SIGINT) is handler


def test_other_exits_pass(trainer: lightning.Trainer) -> None:
    with pytest.raises(SystemExit), interruptible(trainer, "advice"):
        raise SystemExit(3)
    with pytest.raises(ZeroDivisionError), interruptible(trainer, "advice"):
        raise ZeroDivisionError


def test_training_may_run_in_another_thread() -> None:
    """Only the main thread may set a signal's handler."""
    trained: list[bool] = []

    def run() -> None:
        trainer = make_trainer(1, [])
        with interruptible(trainer, "advice"):
            fit(trainer)
        trained.append(True)

    with quiet_lightning():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    assert trained == [True]


def test_real_warnings_still_show() -> None:
    @quiet_lightning()
    def warn() -> None:
        warnings.warn("a real one", stacklevel=1)
        warnings.warn("The 'train_dataloader' does not have many workers which", stacklevel=1)

    with pytest.warns(UserWarning, match="a real one") as caught:
        warn()

    assert len(caught) == 1


def test_a_checkpoint_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs" / "checkpoint.ckpt"
    checkpoints = Checkpoints()
    checkpoints.save_checkpoint({"epoch": 1}, path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        checkpoints.save_checkpoint({"epoch": 2}, path)

    assert checkpoints.load_checkpoint(path, weights_only=True) == {"epoch": 1}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 and nothing",
        b"\x80\x02nonsense",
        b"x",
        b".",
        b"\x80\x02q\x01.",
        b"\x80\x00",
        b"r",  # a number should follow
        b"X\xff\xff\xff\x7f",  # two gigabytes of text should
    ],
)
def test_a_damaged_checkpoint_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.ckpt"
    path.write_bytes(content)

    with pytest.raises(DamagedCheckpointError, match=r"checkpoint\.ckpt is damaged.*--overwrite"):
        Checkpoints().load_checkpoint(path, weights_only=True)


@given(cut=st.floats(0, 0.9), noise=st.binary(max_size=8))
def test_any_part_of_a_checkpoint_is_damaged(tmp_path: Path, cut: float, noise: bytes) -> None:
    path = tmp_path / "checkpoint.ckpt"
    Checkpoints().save_checkpoint({"weight": torch.ones(3), "epoch": 1}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))] + noise)

    with pytest.raises(DamagedCheckpointError, match="is damaged"):
        Checkpoints().load_checkpoint(path, weights_only=True)


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_is_told_or_means_nothing(tmp_path: Path, place: float, value: int) -> None:
    path = tmp_path / "checkpoint.ckpt"
    Checkpoints().save_checkpoint({"weight": torch.ones(3), "epoch": 1}, path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] = value
    path.write_bytes(content)

    try:
        found = Checkpoints().load_checkpoint(path, weights_only=True)
    except DamagedCheckpointError:
        return
    assert torch.equal(found["weight"], torch.ones(3))
    assert found["epoch"] == 1


def test_a_part_that_is_marked_as_a_folder_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.ckpt"
    Checkpoints().save_checkpoint({"weight": torch.ones(3), "epoch": 1}, path)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"/data/0"))
    content[entry + 38] |= 0x10  # the external attributes begin here
    path.write_bytes(content)

    with pytest.raises(DamagedCheckpointError):
        Checkpoints().load_checkpoint(path, weights_only=True)


def test_a_checkpoint_comes_back_without_the_device_it_was_written_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        TorchCheckpointIO,
        "load_checkpoint",
        lambda _self, _path, device, _only: asked.append(device),
    )

    path = tmp_path / "checkpoint.ckpt"
    Checkpoints().save_checkpoint({"epoch": 1}, path)

    Checkpoints().load_checkpoint(path, weights_only=True)

    assert asked == ["cpu"]


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none\.ckpt cannot be read: "):
        Checkpoints().load_checkpoint(tmp_path / "none.ckpt", weights_only=True)
