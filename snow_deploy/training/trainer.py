"""Lightning's Trainer as this project uses it."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - what reading a damaged file raises
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from snow_deploy.errors import DamagedCheckpointError, StoreError
from snow_deploy.training.precision import autocast_dtype
from snow_deploy.training.replicas import Replicas
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lightning.pytorch.loggers import Logger

_DOES_NOT_APPLY = (
    ".*does not have many workers.*",  # the user chooses with --workers
    ".*Checkpoint directory.*exists and is not empty.*",  # a resumed run's own
    ".*smaller than the logging interval.*",
    ".*GPU available but not used.*",
    ".*Found .* module.* in eval mode.*",  # the source, on purpose
    ".*LeafSpec.*is deprecated.*",  # Lightning's own use of torch
)


def make_trainer(
    epochs: int,
    callbacks: Sequence[lightning.Callback],
    *,
    precision: str = "fp32",
    loggers: Sequence[Logger] = (),
) -> lightning.Trainer:
    """Return a Trainer for one device, or for the processes that torchrun has started.

    Args:
        epochs: Passes over the training pictures.
        callbacks: Callbacks in order; a ModelCheckpoint among them turns checkpoints on.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        loggers: Loggers that the curves go to, beside the callbacks.
    """
    interactive = sys.stdout.isatty()
    progress = [_Progress(leave=True)] if interactive else []
    devices, nodes = _devices_and_nodes()
    return lightning.Trainer(
        max_epochs=epochs,
        devices=devices,
        strategy="auto" if devices * nodes == 1 else Replicas(),
        num_nodes=nodes,
        precision=_lightning_precision(precision),
        callbacks=[*progress, *callbacks],
        plugins=[Checkpoints()],
        logger=list(loggers) or False,
        enable_checkpointing=any(isinstance(item, Checkpoint) for item in callbacks),
        enable_progress_bar=interactive,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the loaders share the pictures out themselves
        log_every_n_steps=10,
    )


_OF_ITS_ARCHIVE = "PytorchStreamReader"
"""What torch's message has in it where a checkpoint's zip archive is broken."""


class Checkpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any | None = None,  # noqa: ARG002
    ) -> None:
        """Write it beside its place, and put it there when it is on the disk.

        Raises:
            StoreError: It cannot be written.
        """
        with writing(Path(path), StoreError, "Free space or access, then go on."):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()  # torch would hide the error of a full disk behind its own
            torch.save(checkpoint, content)  # noqa: TID251 - as Lightning; weights only are read
            with atomic_write(Path(path)) as file:
                file.write(content.getbuffer())

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any | None = "cpu",  # whatever it was written from; Lightning moves it
        weights_only: bool | None = None,  # noqa: FBT001
    ) -> dict[str, Any]:
        """Read it.

        Raises:
            StoreError: It cannot be read.
            DamagedCheckpointError: It is damaged.
        """
        damaged = f"the checkpoint {path} is damaged. Start again with --overwrite."
        try:
            if not _is_whole(Path(path)):
                raise DamagedCheckpointError(damaged)
            found: dict[str, Any] = super().load_checkpoint(Path(path), map_location, weights_only)
        except OSError as error:
            msg = f"the checkpoint {path} cannot be read: {error}. Give access to it, then go on."
            raise StoreError(msg) from error
        except (RuntimeError, UnpicklingError, EOFError, LookupError, ValueError) as error:
            if isinstance(error, RuntimeError) and _OF_ITS_ARCHIVE not in str(error):
                raise
            # What torch says of a pickle advises to read it without care.
            raise DamagedCheckpointError(damaged) from error
        return found


def _is_whole(path: Path) -> bool:
    """Tell whether every part of a checkpoint, which is a zip archive, has its checksum.

    What torch raises on other bytes depends on the bytes.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with ZipFile(path) as archive:
            # Of what is marked as a folder torch reads nothing, and leaves a tensor as it was.
            marked = any(entry.external_attr for entry in archive.infolist())
            return archive.testzip() is None and not marked
    except OSError as error:
        if error.errno == errno.EINVAL:  # a damaged offset was sought
            return False
        raise
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - nor does zipfile say what it raises
        return False


class TaskLogger(TensorBoardLogger):
    """Writes one task's figures, under the names they have when it trains alone."""

    def __init__(self, folder: Path, prefix: str) -> None:
        """Name the run's folder and what stands before the names of the task's figures."""
        super().__init__(folder, name="", version="tensorboard")
        self._task = prefix

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write the task's figures and those of all tasks, not those of the others."""
        own = {
            name.removeprefix(self._task): value
            for name, value in metrics.items()
            if name.startswith(self._task) or "/" not in name
        }
        super().log_metrics(own, step)


class _Progress(RichProgressBar):
    """Lightning's bar with short names, so that a line fits a terminal."""

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Show the running loss, accuracies and images/s."""
        shown: dict[str, int | str | float | dict[str, float]] = {}
        for name, value in super().get_metrics(trainer, pl_module).items():
            if name in {"v_num", "loss_epoch"} or not isinstance(value, int | float):
                continue
            short = name.removesuffix("_step").replace("images_per_s", "images/s")
            short = short.removesuffix("_accuracy").replace("accuracy", "acc")
            shown[short] = round(value) if short == "images/s" else round(value, 3)
        return shown


def _devices_and_nodes() -> tuple[int, int]:
    """Return how many processes torchrun has started on each machine, and on how many machines."""
    if not torch.distributed.is_torchelastic_launched():
        return 1, 1
    here, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return here, everywhere // here


def _lightning_precision(precision: str) -> Any:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    names = {torch.float32: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}
    return names[autocast_dtype(precision, device)]


@contextmanager
def interruptible(trainer: lightning.Trainer, advice: str) -> Iterator[None]:
    """Turn Lightning's exit on Ctrl-C into KeyboardInterrupt(advice); give the signal back."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:
        if trainer.interrupted:
            raise KeyboardInterrupt(advice) from stopped
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Drop advice that does not apply here; real warnings still show."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for advice in _DOES_NOT_APPLY:
            warnings.filterwarnings("ignore", advice)
        yield
