"""What an earlier run left behind: replaced, refused, skipped or gone on with."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_deploy.errors import ResumeError, StoreError, TrainingError
from snow_deploy.training.answers import FILE as ANSWERS
from snow_deploy.training.replicas import on_several_machines
from snow_deploy.training.run_facts import RunFacts, read_facts
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from snow_deploy.training.store import Store

_CHECKPOINT = "checkpoint.ckpt"
_RECORD = "run.json"
_SWEEP = "sweep.json"


@dataclass(frozen=True)
class ResumePlan:
    """What is left to train.

    Attributes:
        names: The tasks to train, in order.
        trained: Names of those asked for that the store has already.
        checkpoint: Checkpoint to go on from; None to begin.
        folder: Folder that the checkpoint is written to: a task's run, or a sweep's folder.
    """

    names: tuple[str, ...]
    trained: tuple[str, ...]
    checkpoint: Path | None
    folder: Path

    def clear(self) -> None:
        """Take the checkpoint away, when all is done."""
        (self.folder / _CHECKPOINT).unlink(missing_ok=True)
        if (self.folder / _SWEEP).is_file():
            shutil.rmtree(self.folder, ignore_errors=True)


def plan(
    store: Store, facts: Mapping[str, RunFacts], *, resume: bool, overwrite: bool
) -> ResumePlan:
    """Check what an earlier run left and make room for this one.

    Args:
        store: Store that the tasks go to.
        facts: What the run begins with, by task.
        resume: Whether to go on from the last checkpoint.
        overwrite: Whether to replace tasks and unfinished runs.

    Raises:
        TrainingError: A single task is there already.
        ResumeError: There is nothing to resume, or what was begun had other options, labels,
            pictures or another source.
        StoreError: The store cannot be written.
    """
    asked = tuple(facts)
    alone = len(asked) == 1
    folder = store.run_path(asked[0]) if alone else _sweep_path(store, asked)
    checkpoint = folder / _CHECKPOINT
    if resume:
        names = asked if alone else _read_sweep(folder / _SWEEP)
        if not checkpoint.is_file() or not all(_record(store, name).is_file() for name in names):
            what = f"run of task {asked[0]!r}" if alone else f"sweep of {', '.join(asked)}"
            msg = f"there is no unfinished {what} in {store.root}; leave --resume out"
            if on_several_machines():
                msg += (
                    ". If the other machines have one, put the --store on a disk that all of them "
                    "share, and end the run there before you start it again"
                )
            raise ResumeError(msg)
        for name in names:
            read_facts(_record(store, name)).check_same(facts[name])
        rest = {name: facts[name] for name in asked if name not in names}
        trained = trained_already(store, rest)
        gone = [name for name in rest if name not in trained]
        if gone:
            msg = (
                f"{store.root} had the task {gone[0]!r} when the sweep was interrupted, and has it "
                "no more. Train it by itself, then --resume with the same tasks; or start again "
                "with --overwrite."
            )
            raise ResumeError(msg)
        return ResumePlan(names, trained, checkpoint, folder)
    trained = ()
    if not overwrite:
        if not alone and checkpoint.is_file():
            _refuse_interrupted(store, f"a sweep of {', '.join(asked)}")
        trained = () if alone else trained_already(store, facts)
        for name in asked:
            if name not in trained:
                refuse_overwriting(store, name)
    names = tuple(name for name in asked if name not in trained)
    _make_room(store, {name: facts[name] for name in names}, folder, alone=alone)
    return ResumePlan(names, trained, None, folder)


def plan_fits(
    store: Store, facts: Mapping[str, RunFacts], *, alone: bool, resume: bool, overwrite: bool
) -> ResumePlan:
    """Make room for tasks that are fitted in one go, and so have nothing to go on from.

    Those that the store has are left as they are, where there are others or the run is resumed.

    Args:
        store: Store that the tasks go to.
        facts: What the fits begin with, by task.
        alone: Whether the run is of one task.
        resume: Whether an earlier run is gone on with.
        overwrite: Whether to replace tasks and unfinished runs.

    Raises:
        TrainingError: A single task is there already, or one was trained otherwise.
        ResumeError: A run that was interrupted had other options, labels, pictures or source.
        StoreError: The store cannot be written.
    """
    skips = (resume or not alone) and not overwrite
    trained = trained_already(store, facts) if skips else ()
    names = tuple(name for name in facts if name not in trained)
    for name in names:
        if resume and checkpoint_path(store, [name]).is_file():
            read_facts(_record(store, name)).check_same(facts[name])
        elif not overwrite:
            refuse_overwriting(store, name)
    folder = store.run_path(next(iter(facts)))
    _make_room(store, {name: facts[name] for name in names}, folder, alone=True)
    return ResumePlan(names, trained, None, folder)


def is_unfinished(store: Store, names: Sequence[str]) -> bool:
    """Tell whether an interrupted run of exactly these tasks can be gone on with."""
    return checkpoint_path(store, names).is_file()


def checkpoint_path(store: Store, names: Sequence[str]) -> Path:
    """Return where a run of exactly these tasks keeps what it is gone on with from."""
    folder = store.run_path(names[0]) if len(names) == 1 else _sweep_path(store, names)
    return folder / _CHECKPOINT


def forget(store: Store, names: Sequence[str]) -> None:
    """Take away what an interrupted run of exactly these tasks would be gone on with from."""
    checkpoint_path(store, names).unlink(missing_ok=True)


def _make_room(store: Store, facts: Mapping[str, RunFacts], sweep: Path, *, alone: bool) -> None:
    """Remove what is left of earlier runs and note what this one is."""
    advice = "Free space or access, or name another --store."
    for name, those in facts.items():
        folder = store.run_path(name)
        with writing(folder, StoreError, advice):
            folder.mkdir(parents=True, exist_ok=True)
            for stale in (_CHECKPOINT, "curve.csv", "selections.npz", ANSWERS):
                (folder / stale).unlink(missing_ok=True)
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
            with atomic_write(folder / _RECORD, "w") as file:
                json.dump(those.to_dict(), file, indent=1)
    if not alone and facts:
        with writing(sweep, StoreError, advice):
            sweep.mkdir(parents=True, exist_ok=True)
            (sweep / _CHECKPOINT).unlink(missing_ok=True)
            with atomic_write(sweep / _SWEEP, "w") as file:
                json.dump({"tasks": list(facts)}, file, indent=1)


def _sweep_path(store: Store, names: Sequence[str]) -> Path:
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return store.root / "sweeps" / f"{names[0]}-{digest[:12]}"


def _record(store: Store, name: str) -> Path:
    return store.run_path(name) / _RECORD


def _read_sweep(path: Path) -> tuple[str, ...]:
    """Return the tasks that the interrupted sweep trains; none where there is no sweep."""
    if not path.is_file():
        return ()
    try:
        return tuple(str(name) for name in json.loads(path.read_text(encoding="utf-8"))["tasks"])
    except (ValueError, TypeError, KeyError) as error:
        msg = f"{path} cannot be read ({error}). Start again with --overwrite."
        raise ResumeError(msg) from error


def trained_already(store: Store, facts: Mapping[str, RunFacts]) -> tuple[str, ...]:
    """Return the tasks that the store has, having checked that they are what is asked for.

    Raises:
        TrainingError: One was trained with other options or on other labels.
    """
    found = []
    for name in facts:
        if name not in store.tasks():
            continue
        record, wanted = store.load_task(name), facts[name]
        changed = record.options.differences(wanted.options)
        if record.labels != wanted.labels:
            changed.append("other labels")
        elif wanted.has_other_pictures(record.data_sha256):
            changed.append("other pictures")
        if changed:
            msg = (
                f"{store.root} has a task {name!r} that was trained otherwise "
                f"({'; '.join(changed)}). Give --overwrite to train it anew, or another --task "
                "name."
            )
            raise TrainingError(msg)
        found.append(name)
    return tuple(found)


def refuse_overwriting(store: Store, name: str) -> None:
    """Refuse to train what is there, or was begun.

    Raises:
        TrainingError: The store has the task, or an unfinished run of it.
    """
    if name in store.tasks():
        msg = (
            f"{store.root} already has a task {name!r}. Give --overwrite to train it anew, "
            "or choose another --task name."
        )
        raise TrainingError(msg)
    if (store.run_path(name) / _CHECKPOINT).is_file():
        _refuse_interrupted(store, f"a run of task {name!r}")


def _refuse_interrupted(store: Store, what: str) -> None:
    msg = (
        f"{what} in {store.root} was interrupted. Give --resume to go on "
        "with it, or --overwrite to start again."
    )
    raise TrainingError(msg)
