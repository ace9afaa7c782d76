"""Trains what a table needs and is not in the store yet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from snow_deploy.errors import (
    DamagedCheckpointError,
    DivergedError,
    ResumeError,
    TrainingError,
)
from snow_deploy.training.npz_file import read_npz
from snow_deploy.training.resume import checkpoint_path, forget, is_unfinished
from snow_deploy.training.run import RunSettings, train_tasks
from snow_deploy.training.task_requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Splits
    from snow_deploy.paper.study import Run, Study
    from snow_deploy.training.store import Store

_SHARE_A_PASS = frozenset({"snow", "fo", "fe"})
"""Schemes that train on the same features of the frozen source; `pn` has it give many more."""


def train_runs(study: Study, runs: Sequence[Run]) -> dict[str, Mapping[str, float]]:
    """Train runs, go on with those that were interrupted, and skip what is done.

    What learns from the same batches on the source is trained together, on one pass of it. Where
    a run is given up, as its loss or weights are not finite, the others are still trained.

    Args:
        study: Its store holds the source.
        runs: What is needed; one named twice is trained once, and one that goes on from another
            stands behind it.

    Returns:
        The metrics of the final measurement by run name.

    Raises:
        TrainingError: Data has other labels or pictures than when a run was trained or begun; or
            runs were given up, and everything else is trained.
        KeyboardInterrupt: Interrupted; the same call goes on.
    """
    wanted = {run.name: run for run in runs}
    found, failed = train_what_can_be(study, runs)
    if failed:
        lost = "; ".join(f"{describe_run(wanted[name])}: {why}" for name, why in failed.items())
        msg = (
            f"{len(failed)} of {len(wanted)} runs were given up ({lost}). The others are trained "
            "and kept. Leave those out, or choose other options, such as --recipe steady."
        )
        raise TrainingError(msg)
    return found


def train_what_can_be(
    study: Study, runs: Sequence[Run]
) -> tuple[dict[str, Mapping[str, float]], dict[str, str]]:
    """Do as `train_runs`, but return what was given up.

    Returns:
        By run name, the metrics of the final measurement; and why a run was given up.

    Raises:
        TrainingError: Data has other labels or pictures than when a run was trained or begun.
        KeyboardInterrupt: Interrupted; the same call goes on.
    """
    found: dict[str, Mapping[str, float]] = {}
    failed: dict[str, str] = {}
    wanted = {run.name: run for run in runs}
    groups = _together(list(wanted.values()))
    for number, group in enumerate(groups, 1):
        data = group[0].data
        splits = study.splits(data)
        place = f"[{number}/{len(groups)}]"
        done = {run.name for run in group if run.name in study.store.tasks()}
        found |= {run.name: _metrics(study, run, splits) for run in group if run.name in done}
        failed |= _train_missing(study, group, splits, place, failed)
        for run in group:
            if run.name in failed:
                study.say(f"{place} {describe_run(run)}: given up, {failed[run.name]}")
                continue
            if run.name not in done:
                found[run.name] = _metrics(study, run, splits)
            before = "done before, " if run.name in done else ""
            accuracy = found[run.name]["accuracy"]
            study.say(f"{place} {describe_run(run)}: {before}accuracy {accuracy:.4f}")
    return found, failed


def _together(runs: Sequence[Run]) -> list[list[Run]]:
    """Group runs in order: those that learn from the same batches, where their schemes share them.

    Each other run is one. Runs of a study have the rest in common that decides their batches.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        options = run.options
        shares = options.scheme in _SHARE_A_PASS and options.precision != "fp16"
        crop = options.recipe.smallest_crop
        key = (run.data, options.seed, options.batch_size, crop) if shares else (run.name,)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _train_missing(
    study: Study, group: Sequence[Run], splits: Splits, place: str, failed: Mapping[str, str]
) -> Mapping[str, str]:
    """Train what the store has not of a group.

    Returns:
        Why a run was given up, by its name.
    """
    missing = [run for run in group if run.name not in study.store.tasks()]
    without = [run.name for run in missing if run.options.after in failed]
    if without:  # `lf` trains alone
        return dict.fromkeys(without, "the run that it goes on from was given up")
    given_up: dict[str, str] = {}
    alone = [run for run in missing if is_unfinished(study.store, [run.name])]
    for run in alone:  # another table was interrupted in it
        given_up |= _train(study, [run], splits, place)
    if len(alone) < len(missing):
        rest = [run for run in group if run.name not in given_up]
        given_up |= _train(study, rest, splits, place)
    return given_up


def _train(study: Study, group: Sequence[Run], splits: Splits, place: str) -> Mapping[str, str]:
    """Train a group, or go on with it; what the store has of it already stays.

    Returns:
        Why a run was given up, by its name.
    """
    names = [run.name for run in group]
    resume = is_unfinished(study.store, names)
    for run in group:
        if run.name not in study.store.tasks():
            study.say(f"{place} {'going on with' if resume else 'training'} {describe_run(run)}")
    requests = [TaskRequest(run.name, splits, run.options) for run in group]
    settings = RunSettings(workers=study.workers, baseline=False, resume=resume)
    try:
        try:
            return train_tasks(study.store, requests, settings).failures
        except DamagedCheckpointError:
            study.say(f"{place} begins anew: the checkpoint of what was interrupted is damaged")
            forget(study.store, names)
        except ResumeError as error:
            kept = checkpoint_path(study.store, names)
            msg = f"{error} Or, as `paper` replaces nothing, remove {kept} to begin it anew."
            raise TrainingError(msg) from error
        return train_tasks(study.store, requests, replace(settings, resume=False)).failures
    except DivergedError as error:
        return error.failures
    except KeyboardInterrupt:
        advice = "interrupted; the same command goes on from here"
        raise KeyboardInterrupt(advice) from None


def _metrics(study: Study, run: Run, splits: Splits) -> Mapping[str, float]:
    """Read a trained run's metrics, and check that its data is what it was."""
    record = study.store.load_task(run.name)
    changed = None
    if record.labels != splits.labels:
        changed = f"labels ({len(splits.labels)} of them) that are not those"
    elif record.data_sha256 and record.data_sha256 != splits.fingerprint:
        changed = "pictures, or classes or splits of theirs, that are not those"
    if changed is not None:
        msg = (
            f"the data {run.data!r} has {changed} that {run.name} was trained with. Give the "
            "changed data another name, or choose another --store."
        )
        raise TrainingError(msg)
    return record.metrics


def describe_run(run: Run) -> str:
    """Say for people which run it is."""
    options = run.options
    words = [run.data, options.scheme, f"seed {options.seed}"]
    if options.scheme == "snow":
        delta = options.delta
        words[2:2] = [delta.subscription, f"N/{delta.k_divisor}", f"width 1/{delta.width_divisor}"]
        words.insert(5, f"sigma2 {delta.sigma2:g}")
        words[6:6] = delta.form_words()
    return " ".join(words)


def read_selections(store: Store, name: str) -> dict[str, NDArray[np.int64]]:
    """Read which channels a run chose over training: `epoch` [R], and [R, K] by subscription.

    Raises:
        TrainingError: The run left no such file behind.
    """
    path = store.run_path(name) / "selections.npz"
    try:
        return read_npz(path)
    except (OSError, ValueError) as error:
        msg = (
            f"{path} cannot be read ({error}). It is written while a run trains: train the run "
            f"anew, after removing {store.task_path(name)}."
        )
        raise TrainingError(msg) from error
