"""Whether data is split as when a task was trained, by the fingerprint that its graph carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_calibration.errors import CalibrationError

if TYPE_CHECKING:
    from snow_calibration.pictures import PictureOrigin
    from snow_deploy.data.pictures import Splits
    from snow_runtime.graph.data_entry import DataEntry, SplitEntry
    from snow_runtime.graph.manifest import TaskEntry


def trained_seed(task: TaskEntry) -> int:
    """Return the seed that splits the task's data as it was split for training."""
    return 0 if task.data is None else task.data.seed


def provenance(
    task: TaskEntry, splits: Splits, seed: int, *, accept: bool = False
) -> tuple[PictureOrigin, str | None]:
    """Tell what is known of the pictures that a task is judged by, and what is to be said of it.

    They are safe where the training split is the one that the task was trained on: none of the
    others was, even if some have been added since.

    Args:
        task: Entry of the task in the graph.
        splits: The data.
        seed: Seed that it was split with.
        accept: Whether to say what would be refused, and to go on.

    Raises:
        CalibrationError: The data is split otherwise than when the task was trained.
    """
    if task.data is None:
        unknown = None
        if task.sha256 is not None:
            unknown = (
                f"the graph does not say which pictures task {task.name!r} was trained on; see "
                "that the ones it is judged by were not"
            )
        return "unknown", unknown
    if splits.fingerprint == task.data.sha256:
        return "measured", None
    now, then = splits.entries, task.data.splits
    if now["train"] == then.get("train"):
        same = now.get("test", now.get("val")) == task.data.measured
        return ("measured" if same else "held out"), None
    if accept:
        return "unknown", (
            f"task {task.name!r} is judged by pictures that are split otherwise than when it was "
            "trained: it may have been trained on some of them"
        )
    raise CalibrationError(_refusal(task.name, task.data, now["train"], seed))


def _refusal(task: str, data: DataEntry, now: SplitEntry, seed: int) -> str:
    then = data.splits.get("train")
    expected = "as when it was trained" if then is None else f"expected {_facts(then)}"
    finding = (
        f"the data of task {task!r} is split otherwise than when it was trained (training "
        f"split now {_facts(now)}, {expected}): some pictures that would judge it may have been "
        "trained on"
    )
    if seed != data.seed:
        advice = f"It was trained with --seed {data.seed}: give that, or leave --seed out"
    else:
        advice = (
            "Give the data that it was trained with; where pictures were added, removed or "
            "renamed since, train it again, or lay the data out as train/ and test/"
        )
    return f"{finding}. {advice}. --other-pictures judges by these all the same."


def _facts(entry: SplitEntry) -> str:
    return f"{entry.pictures} pictures, {entry.sha256[:12]}"
