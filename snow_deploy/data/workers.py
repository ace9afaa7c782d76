"""Processes that load pictures: how batches come from them, and what becomes of one that dies.

A worker hands its batches over in shared memory, of which a container has 64 MB by default.
Where that does not hold what may wait there, batches come through pipes: torch itself
would lose the batch that has no room, and wait for it for ever (pytorch/pytorch#5040).
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch.utils.data import DataLoader, get_worker_info

from snow_deploy.errors import DataError
from snow_runtime.pictures import remarks

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGER = logging.getLogger(__name__)

_SHARED: Final = Path("/dev/shm")  # noqa: S108 - where Linux has it; nothing is written here
_AHEAD: Final = 2
"""Batches that torch lets each worker make before they are asked for."""
_IN_HAND: Final = 2
"""Batches that the main process holds: the one it works on, and the next."""
_LOOK_S: Final = 10.0
"""How often a waiting loader looks after its workers."""
_PATIENCE_S: Final = 120.0
_PATIENCE_A_PICTURE_S: Final = 2.0
_told: list[bool] = []
"""Not empty when the user knows that shared memory is short; once is enough."""


class WatchedLoader(DataLoader[Any]):
    """A loader that gives a batch, or an error; it never waits for ever.

    Args:
        **options: What torch's takes; `timeout` and `worker_init_fn` are its own.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if options.get("num_workers", 0):
            options |= {"timeout": _LOOK_S, "worker_init_fn": _begin_worker}
        super().__init__(*arguments, **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Give the batches.

        Raises:
            DataError: A worker died, could not be started, or gave nothing for long.
        """
        with workers_watched():
            try:
                batches = super().__iter__()
            except OSError as error:
                msg = (
                    f"the processes that load pictures cannot be started: {error.strerror}. "
                    "Give fewer --workers; --workers 0 needs none."
                )
                raise DataError(msg) from error
            yield from self._until_the_end(batches)

    def _until_the_end(self, batches: Iterator[Any]) -> Iterator[Any]:
        patience_s = _PATIENCE_S + _PATIENCE_A_PICTURE_S * (self.batch_size or 1)
        waited_s = 0.0
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader timed out" not in str(error):
                    raise
                # Looks are counted, not hours: a process that was stopped for long has waited once.
                waited_s += self.timeout
                if waited_s < patience_s:
                    continue
                msg = (
                    f"the processes that load pictures gave nothing for {waited_s:.0f} s, expected "
                    f"a batch of {self.batch_size} pictures. Look whether the disk with the "
                    "pictures answers; --workers 0 loads them without processes."
                )
                raise DataError(msg) from error
            waited_s = 0.0
            yield batch


@contextmanager
def workers_watched() -> Iterator[None]:
    """Make an error of this package of a worker that was killed, wherever torch notices it.

    Torch raises from a signal handler, in whatever the main process is doing.

    Raises:
        DataError: So it was.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        said = str(error).splitlines()[0].strip().rstrip(".")
        msg = (
            f"a process that loads pictures was ended from outside ({said}), most likely as the "
            "memory ran out. Give fewer --workers, or a smaller --batch-size; with --resume "
            "training goes on from its last epoch."
        )
        raise DataError(msg) from error


def batches_fit(batch_bytes: int, workers: int) -> bool:
    """Tell whether the batches that may wait have room in shared memory; tell the user if not.

    Args:
        batch_bytes: Size of one batch.
        workers: Processes of this loader; torchrun's other processes here have as many.
    """
    if workers == 0 or not _SHARED.is_dir():  # other systems have no such limit
        return True
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    needed = batch_bytes * (workers * _AHEAD + _IN_HAND) * here
    free = shutil.disk_usage(_SHARED).free
    if free >= needed:
        return True
    if not _told and os.environ.get("RANK", "0") == "0":
        _told.append(True)
        _LOGGER.warning(
            "Shared memory (%s) has %d MB free, and batches by --workers %d may need %d MB: they "
            "come through pipes, which takes longer. Give a container more (docker run "
            "--shm-size=%dm), or train with --workers 0.",
            *(_SHARED, free // 2**20, workers, *[-(-needed // 2**20)] * 2),
        )
    return False


def handed_over(tensor: torch.Tensor, *, shared: bool) -> torch.Tensor:
    """Make a tensor of a batch ready for its way to the main process, if this is a worker.

    Args:
        tensor: Tensor on the CPU.
        shared: Whether shared memory has room for it; without, it becomes a tensor again only
            where it arrives.
    """
    if get_worker_info() is None:
        return tensor
    if shared:
        try:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
        except RuntimeError:  # others have taken the room since
            pass
        else:
            return tensor
    return cast("torch.Tensor", _ByPipe(tensor))


class _ByPipe:
    """A tensor that is pickled with its values, and is a tensor where it arrives."""

    def __init__(self, tensor: torch.Tensor) -> None:
        """Take a tensor on the CPU."""
        self._tensor = tensor

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.from_numpy, (self._tensor.numpy(),)


def _begin_worker(_number: int) -> None:
    """Leave it to the main process to tell what is odd: it gets to know with the batch."""
    remarks.be_quiet()
