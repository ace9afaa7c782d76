"""What is asked to be trained, and which tasks can be trained on one pass of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_deploy.errors import DataError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.data.pictures import Pictures, Splits
    from snow_deploy.training.options import TrainOptions

SHARED = ("epochs", "batch_size", "image_size", "crop_share", "precision", "seed")
"""Options that are the same for all tasks of a sweep: they see the same batches."""


@dataclass(frozen=True)
class TaskRequest:
    """One task to train.

    Attributes:
        name: The task's name.
        splits: Its pictures and labels.
        options: What decides its weights.
    """

    name: str
    splits: Splits
    options: TrainOptions


def check_together(requests: Sequence[TaskRequest]) -> None:
    """Check that tasks can learn from the same batches, and each as it is asked to.

    Raises:
        TrainingError: Two have the same name, or options that change the batches differ; or one of
            which any number of labels may be right is to be learned without forgetting.
        DataError: Their pictures differ.
    """
    first = requests[0]
    names = [request.name for request in requests]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"two tasks of the sweep are both called {', '.join(twice)}; give each one its name"
        raise TrainingError(msg)
    for each in requests:
        _check_answers(each)
    stepped = [each for each in requests if each.options.scheme != "readout"]
    for other in stepped[1:]:  # readouts are fitted one by one, on features of their own
        _check_options(stepped[0], other)
    for other in requests[1:]:
        if other.splits is not first.splits:
            _check_pictures(first, other)
    if len(stepped) > 1 and stepped[0].options.precision == "fp16":
        msg = "the tasks of a sweep would share fp16's loss scale; train with bf16 or fp32"
        raise TrainingError(msg)


def _check_answers(request: TaskRequest) -> None:
    """Refuse what holds a network to the softmax of its answers, where there is none."""
    if request.splits.answers == "several" and request.options.scheme == "lf":
        msg = (
            f"the pictures of {request.name} may have any number of labels, and --scheme lf learns "
            "tasks of one class a picture: its paper distils a softmax. Choose another --scheme, "
            "or data of one class a picture, such as csv:FILE?label=COLUMN."
        )
        raise TrainingError(msg)


def _check_options(first: TaskRequest, other: TaskRequest) -> None:
    one, two = first.options, other.options
    pairs = {name: (getattr(one, name), getattr(two, name)) for name in SHARED}
    pairs["smallest_crop"] = (one.recipe.smallest_crop, two.recipe.smallest_crop)
    for name, (here, there) in pairs.items():
        if here != there:
            option = f"--{name.replace('_', '-')}"
            msg = (
                f"{first.name} and {other.name} cannot learn from the same batches: {option} is "
                f"{here} for one and {there} for the other. Give {option} once, for all of them, "
                "or train them in runs of their own."
            )
            raise TrainingError(msg)


def _check_pictures(first: TaskRequest, other: TaskRequest) -> None:
    one, two = first.splits, other.splits
    between = f"{first.name} and {other.name} do not have the same pictures"
    advice = "Tasks that train together label one list of pictures; else train them one by one."
    if one.augmentation != two.augmentation:
        msg = (
            f"{between}: their augmentation is {one.augmentation} and {two.augmentation}. {advice}"
        )
        raise DataError(msg)
    for split in ("train", "val", "test"):
        difference = _difference(getattr(one, split), getattr(two, split))
        if difference is not None:
            msg = f"{between}: in {split} {difference}. {advice}"
            raise DataError(msg)


def _difference(one: Pictures | None, two: Pictures | None) -> str | None:
    """Say how two lists of pictures differ; None where they are the same files in order."""
    if one is None or two is None:
        return None if one is two else "only one of them has pictures"
    if len(one) != len(two):
        return f"they have {len(one)} and {len(two)}"
    for index in range(len(one)):
        if one.name(index) != two.name(index):
            return f"number {index} is {one.name(index)} and {two.name(index)}"
    return None
