"""One process at a time trains a task."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from snow_deploy.errors import StoreError, TrainingError

try:
    import fcntl
except ImportError:  # Windows has other locks; there it is the user's to train a task once
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from snow_deploy.training.store import Store


@contextmanager
def exclusive(store: Store, names: Sequence[str]) -> Iterator[None]:
    """Keep other processes from training tasks in a store; the lock goes with the process.

    Of the processes that torchrun has started the first one holds it for all of them.

    Args:
        store: Store that the tasks go to.
        names: Names of the tasks.

    Raises:
        TrainingError: Another process trains one of them.
        StoreError: A run's folder cannot be made.
    """
    with ExitStack() as held:
        if fcntl is not None and os.environ.get("RANK", "0") == "0":
            for name in sorted(names):
                held.enter_context(_locked(store.run_path(name), name, store))
        yield


@contextmanager
def _locked(folder: Path, name: str, store: Store) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        msg = f"{folder} cannot be written: {error}. Free space or access, or name another --store."
        raise StoreError(msg) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = (
                f"another process is training task {name!r} in {store.root}. Wait for it, or "
                "choose another --task name or --store."
            )
            raise TrainingError(msg) from error
        yield
    finally:
        with suppress(OSError):  # where nothing came of it, such as for a name that is taken
            folder.rmdir()
        os.close(descriptor)
