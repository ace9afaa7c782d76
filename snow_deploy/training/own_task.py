"""A task that a loop of somebody's own has trained, as a store keeps it."""

from __future__ import annotations

import copy
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor

from snow_deploy.errors import StoreError, TrainingError
from snow_deploy.models.delta import Delta
from snow_deploy.models.source import Source
from snow_deploy.models.source_checks import check_pictures
from snow_deploy.models.source_weights import find_fault
from snow_deploy.training.measure import SAMPLES, held_out_samples
from snow_deploy.training.options import TrainOptions, recipe_for
from snow_deploy.training.own_confidence import with_confidence
from snow_deploy.training.task_record import TaskRecord
from snow_deploy.training.wrapped import unwrap_network
from snow_runtime.multilabel import Labelling
from snow_runtime.pictures.preprocessing import as_rgb, load_image, normalise, resize_and_crop
from snow_runtime.self_check import drawn_pictures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from snow_deploy.data.pictures import Splits
    from snow_runtime.graph.manifest import Preprocessing
    from snow_runtime.pictures.preprocessing import Picture

_SHARES = frozenset({"accuracy", "accuracy_top5", "exact_match"})
_CHANGED = 1e-2
"""Share of the largest answer that a delta and its copy may differ by: half precision rounds."""


@dataclass(frozen=True)
class OwnTask:
    """What a network's weights do not say of its task.

    Attributes:
        labels: What each logit stands for; None takes those of `splits`.
        pictures: Held-out pictures to compare answers on; None takes them from `splits`, and
            without those draws some.
        splits: Pictures and labels that it was trained and measured on, if they are known.
        metrics: Figures that were measured, such as `accuracy` (0 to 1).
        answers: `several` where any number of labels may be right; None is what `splits` says,
            else `one`.
        split_seed: Seed that the data was split with, where it has no splits of its own.
        trained_by: What trained it, for people.
    """

    labels: Sequence[str] | None = None
    pictures: Sequence[str | Path | Picture] | None = None
    splits: Splits | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    answers: Labelling | None = None
    split_seed: int = 0
    trained_by: str = "own loop"


def record_of(
    name: str, network: nn.Module, task: OwnTask, source: Source | None = None
) -> tuple[TaskRecord, Source]:
    """Put together what a store keeps of a task, once it is found to answer as its network does.

    Args:
        name: The task's name.
        network: A delta on any device, in any mode and precision, or in its wrappers; it stays as
            it is.
        task: What it does not say.
        source: Source that it was built on; None takes the one that it refers to.

    Returns:
        The task, with weights in float32 on the CPU, and its source.

    Raises:
        TrainingError: It is no delta, its weights are not all finite numbers or not those of a
            delta of its options; or the labels, metrics or pictures are none that it can have.
        StoreError: Its source is not at hand, or is another one than `source`.
        SourceError: The source cannot read pictures of its size.
        InputError: A picture cannot be read.
        DataError: None of the pictures of `splits` can be read.
    """
    delta = unwrap_network(network)
    if not isinstance(delta, Delta):
        msg = f"a {type(delta).__name__} is no delta; train it by snow_deploy.train instead."
        raise TrainingError(msg)
    source = _source_of(delta, source)
    if next(source.network.parameters()).dtype != torch.float32:
        source = Source(source.weights)  # the store's is not rounded
    preprocessing = source.preprocessing
    check_pictures(source, preprocessing.image_size)
    labels, metrics = _labels(task, delta.num_classes), _metrics(task.metrics)
    splits = task.splits
    known: dict[str, Any] = {}
    if splits is not None:
        known = {"data_sha256": splits.fingerprint, "splits": splits.entries}
    record = TaskRecord(
        name=name,
        labels=labels,
        state=_state(delta),
        source_sha256=source.fingerprint,
        preprocessing=preprocessing,
        options=TrainOptions(
            delta=delta.options,
            recipe=recipe_for("steady"),  # in the place of what is not known: every shape allows it
            image_size=preprocessing.image_size,
            seed=task.split_seed,
        ),
        samples=_samples(task, preprocessing),
        metrics=metrics,
        answers=_answers(task),
        trained_by=str(task.trained_by or "").strip() or "own loop",
        **known,
    )
    _check_answers(delta, record, source)
    return with_confidence(record, source, splits), source


def is_first() -> bool:
    """Tell whether this is the first of the processes that train together, or the only one."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    if together:
        return torch.distributed.get_rank() == 0
    return os.environ.get("RANK", "0") == "0"


def _source_of(delta: Delta, source: Source | None) -> Source:
    found = source or delta.built_on.source
    if found is None:
        msg = (
            f"the delta does not know its source any more ({delta.built_on.fingerprint[:12]}): it "
            "came from another process or a file. Give it: source=…"
        )
        raise StoreError(msg)
    if found.fingerprint != delta.built_on.fingerprint:
        msg = (
            f"the source given is {found.fingerprint[:12]} ({found.architecture}), but the delta "
            f"was built on {delta.built_on.fingerprint[:12]}. Give that one, or leave source out."
        )
        raise StoreError(msg)
    return found


def _labels(task: OwnTask, classes: int) -> tuple[str, ...]:
    splits, labels = task.splits, task.labels
    if splits is not None and not hasattr(splits, "final"):
        msg = f"splits is {splits!r:.80}, expected what snow_deploy.open_data gives. Open it."
        raise TrainingError(msg)
    if labels is not None and (isinstance(labels, str) or not hasattr(labels, "__len__")):
        kind = "text" if isinstance(labels, str) else type(labels).__name__
        msg = f"labels is the {kind} {labels!r}, expected a list of {classes} texts, one a class."
        raise TrainingError(msg)
    if labels is None and splits is None:
        msg = f"a task needs its {classes} labels, one for each logit: give labels or splits."
        raise TrainingError(msg)
    found = tuple(map(str, labels if labels is not None else splits.labels))  # type: ignore[union-attr]
    if len(found) != classes or not all(each.strip() for each in found):
        empty = sum(not each.strip() for each in found)
        seen = f"{len(found)} labels were given" + (f", {empty} of them empty" if empty else "")
        msg = f"{seen}; the delta answers with {classes} logits, so expected {classes} labels."
        raise TrainingError(msg)
    if splits is not None and found != splits.labels:
        msg = (
            f"the labels {', '.join(found[:3])} … are not those of the splits, "
            f"{', '.join(splits.labels[:3])} …, in their order. Leave labels out."
        )
        raise TrainingError(msg)
    return found


def _answers(task: OwnTask) -> Labelling:
    said = task.splits.answers if task.splits is not None else "one"
    found = task.answers or said
    if found not in get_args(Labelling):
        msg = f"answers is {found!r}, expected {' or '.join(get_args(Labelling))}. Give one."
        raise TrainingError(msg)
    if task.splits is not None and found != said:
        msg = f"answers is {found!r}, but the pictures of splits have {said!r}. Leave answers out."
        raise TrainingError(msg)
    return found


def _metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    found = {}
    if not hasattr(metrics, "items"):
        msg = f"metrics is {metrics!r}, expected figures by name, as {{'accuracy': 0.83}}."
        raise TrainingError(msg)
    for name, value in metrics.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            found[str(name)] = math.nan
        if not math.isfinite(found[str(name)]):
            msg = f"the metric {name!r} is {value!r}, expected a finite number. Correct it."
            raise TrainingError(msg)
        if name in _SHARES and not 0 <= found[name] <= 1:
            msg = f"the metric {name!r} is {value!r}, expected a share from 0 to 1, as 0.83."
            raise TrainingError(msg)
    return found


def _state(delta: Delta) -> dict[str, Tensor]:
    """Return a delta's weights as they are kept: float32 where they are no counters."""
    state = {}
    for key, value in delta.state_dict().items():
        if hasattr(value, "full_tensor"):  # of FSDP or tensor parallelism: all processes take part
            value = value.full_tensor()  # noqa: PLW2901
        if value.is_meta:
            msg = f"{key} lies on the meta device and has no values. Give the trained delta."
            raise TrainingError(msg)
        dtype = torch.float32 if value.is_floating_point() else value.dtype
        state[key] = value.detach().to("cpu", dtype, copy=True).contiguous()
        fault = find_fault(key, state[key])
        if fault is not None:
            msg = (
                f"the delta cannot be stored: {fault}. Take its weights from before the training "
                "went wrong, and lower the learning rate."
            )
            raise TrainingError(msg)
    return state


def _samples(task: OwnTask, preprocessing: Preprocessing) -> Tensor:
    """Return a few pictures, resized and cropped: [M, S, S, 3] uint8."""
    if task.pictures is None and task.splits is not None:
        return held_out_samples(task.splits.final[1], preprocessing)
    if task.pictures is None:
        return torch.from_numpy(drawn_pictures(preprocessing.image_size))
    if isinstance(task.pictures, str | Path):
        msg = f"pictures is {str(task.pictures)!r}, expected a list of pictures. Put it into one."
        raise TrainingError(msg)
    given = list(task.pictures)
    if not given:
        msg = "pictures is empty, expected a few held-out ones. Give some, or leave it out."
        raise TrainingError(msg)
    count = min(SAMPLES, len(given))
    chosen = [given[place * len(given) // count] for place in range(count)]
    return torch.from_numpy(np.stack([_cropped(each, preprocessing) for each in chosen]))


def _cropped(picture: str | Path | Picture, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    image = load_image(picture) if isinstance(picture, str | Path) else as_rgb(picture)
    return resize_and_crop(image, preprocessing)


@torch.no_grad()
def _check_answers(delta: Delta, record: TaskRecord, source: Source) -> None:
    """Check that what the store would build answers as the delta does.

    Raises:
        TrainingError: It does not: the delta was changed after it was built.
    """
    try:
        stored = record.build(source)
    except StoreError as error:
        msg = f"the delta was changed after it was built: {error}. Store it as it was built."
        raise TrainingError(msg) from error
    device = next(source.network.parameters()).device
    pixels = record.samples[:2].numpy()
    planes = np.stack([normalise(each, record.preprocessing) for each in pixels])
    images = torch.from_numpy(planes).to(device)
    features = source.network(images)
    own = copy.deepcopy(delta).to(device, torch.float32).eval()
    expected, found = own(images, features), stored.to(device)(images, features)
    far = float((expected - found).abs().max()) / max(float(expected.abs().max()), 1e-6)
    if not far <= _CHANGED:
        msg = (
            f"the delta answers otherwise than one of its options with its weights: {far:.2g} of "
            f"the largest answer apart, expected {_CHANGED:g} at most. Its weights overflow, or it "
            "was changed after it was built; store it as it was built."
        )
        raise TrainingError(msg)
