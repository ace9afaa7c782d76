"""One process at a time trains a task."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from snow_deploy.errors import StoreError, TrainingError
from snow_runtime.file_lock import hold_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class HasRuns(Protocol):
    """What keeps a folder for each task's run: a store."""

    @property
    def root(self) -> Path:
        """Its own folder."""

    def run_path(self, name: str) -> Path:
        """Return the folder of a task's training run."""


@contextmanager
def exclusive(store: HasRuns, names: Sequence[str]) -> Iterator[None]:
    """Keep other processes from training tasks in a store; the lock goes with the process.

    Of the processes that torchrun has started the first one holds it for all of them. Windows has
    no locks of folders; there it is the user's to train a task once.

    Args:
        store: Store that the tasks go to.
        names: Names of the tasks.

    Raises:
        TrainingError: Another process trains one of them.
        StoreError: A run's folder cannot be made or locked.
    """
    with ExitStack() as held:
        if os.name == "posix" and os.environ.get("RANK", "0") == "0":
            for name in sorted(names):
                held.enter_context(_locked(store, name))
        yield


@contextmanager
def _locked(store: HasRuns, name: str) -> Iterator[None]:
    def refuse() -> None:
        msg = (
            f"another process is training task {name!r} in {store.root}. Wait for it, or "
            "choose another --task name or --store."
        )
        raise TrainingError(msg)

    folder = store.run_path(name)
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(hold_lock(folder, refuse))
        except OSError as error:
            msg = (
                f"{folder} cannot be written: {error}. Free space or access, or name another "
                "--store."
            )
            raise StoreError(msg) from error
        try:
            yield
        finally:
            with suppress(OSError):  # where nothing came of it, such as for a name that is taken
                folder.rmdir()
