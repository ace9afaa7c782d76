"""From data sets to what calibration looks at: pictures drawn evenly, and pictures to judge by."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from snow_calibration.errors import CalibrationError
from snow_calibration.float_graph import read_float_graph
from snow_calibration.pictures import FEWEST, CalibrationPictures, LabelledPictures
from snow_calibration.run import GatePictures
from snow_deploy.data.copies import copies
from snow_deploy.data.multilabel import multi_hot
from snow_deploy.data.pictures import MultiLabelPictures, label_texts, name_some
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.errors import DataError
from snow_deploy.stages.provenance import provenance, trained_seed
from snow_deploy.stages.task_data import data_of_tasks
from snow_deploy.stages.unlabelled import draw_unlabelled
from snow_runtime.errors import InputError
from snow_runtime.pictures.preprocessing import resize_and_crop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_calibration.pictures import PictureOrigin
    from snow_deploy.data.pictures import Pictures, Splits
    from snow_runtime.graph.manifest import Manifest, Preprocessing


@dataclass(frozen=True)
class Drawing:
    """What to draw.

    Attributes:
        samples: How many training pictures to calibrate on, in all.
        judged: How many to judge each task by, at most, and as many without labels.
        search: Whether to draw pictures to search on, too.
        unlabelled: Folders of pictures without labels: `[TASK=]FOLDER`, for all tasks without.
        seed: Seed that splits data which has no splits of its own; None for each task's own.
        other_pictures: Whether to take data that is split otherwise than when the task was trained,
            too.
    """

    samples: int = 512
    judged: int = 2000
    search: bool = False
    unlabelled: Sequence[str] = ()
    seed: int | None = None
    other_pictures: bool = False


def pictures_of(
    graph: Path, specs: Sequence[str], drawing: Drawing
) -> tuple[CalibrationPictures, GatePictures]:
    """Draw what a graph is calibrated on, and what it is judged by.

    Args:
        graph: An fp32 graph.
        specs: Specifications, as for `data_of_tasks`.
        drawing: How many, and which.

    Raises:
        CalibrationError: The graph or the data cannot be calibrated with, or the data is split
            otherwise than when a task was trained.
        DataError: The data cannot be read.
    """
    manifest = read_float_graph(graph).manifest
    data = data_of_tasks(specs, manifest, drawing.seed)
    known, notes = _known(data, manifest, drawing)
    preprocessing = manifest.preprocessing
    samples = draw_samples(data, preprocessing, drawing.samples)
    truth = {}
    for task, splits in data.items():
        truth[task], said = _truth(task, splits, preprocessing, drawing, known[task])
        notes += said
    search = {}
    if drawing.search:
        search = labelled(data, preprocessing, drawing.judged, choose=for_search, seed=1)
    without = draw_unlabelled(drawing.unlabelled, data, preprocessing, drawing.judged)
    return samples, GatePictures(truth, search, without, tuple(notes))


def _truth(
    task: str, splits: Splits, preprocessing: Preprocessing, drawing: Drawing, known: PictureOrigin
) -> tuple[LabelledPictures, list[str]]:
    """Take what a task is judged by, no picture twice and none that was seen; and say what is not.

    Raises:
        CalibrationError: All that there is was seen.
        DataError: None can be read.
    """
    judging, notes = for_judging(splits), list[str]()
    seen = frozenset[int]()
    if not drawing.other_pictures:
        seen = copies(judging, splits.train, *([for_search(splits)] if drawing.search else []))
    if len(seen) == len(judging):
        msg = (
            f"all {len(seen)} pictures that would judge task {task!r} are copies of ones that "
            "it was trained on, expected others. Give some; --other-pictures judges by these all "
            "the same."
        )
        raise CalibrationError(msg)
    if seen:
        notes.append(
            f"{len(seen)} of the {len(judging)} pictures that would judge task {task!r} are copies "
            "of ones that it was trained on, and left out"
        )
    fresh = {task: [number for number in range(len(judging)) if number not in seen]}
    found = labelled({task: splits}, preprocessing, drawing.judged, among=fresh)[task]
    once = found.distinct()
    if twice := len(found.targets) - len(once.targets):
        notes.append(
            f"{twice} of the {len(found.targets)} pictures that judge task {task!r} are "
            "copies of others, and count once"
        )
    left = known == "measured" and (seen or twice)
    return replace(once, known="rest" if left else known), notes


def _known(
    data: Mapping[str, Splits], manifest: Manifest, drawing: Drawing
) -> tuple[dict[str, PictureOrigin], list[str]]:
    """Tell what is known of each task's pictures, and what is to be said of them."""
    known: dict[str, PictureOrigin] = {}
    notes = []
    for task, splits in data.items():
        entry = manifest.task(task)
        seed = trained_seed(entry) if drawing.seed is None else drawing.seed
        found, note = provenance(entry, splits, seed, accept=drawing.other_pictures)
        if found == "measured" and len(splits.final[1]) > drawing.judged:
            found = "held out"  # a part of them
        known[task] = found
        notes += [] if note is None else [note]
    return known, notes


def draw_samples(
    data: Mapping[str, Splits], preprocessing: Preprocessing, count: int, seed: int = 0
) -> CalibrationPictures:
    """Draw training pictures: as many of each task, and within it as many of each class.

    Unreadable pictures are named in a warning and passed over. Fewer than `count` come back where
    a task has too few.

    Raises:
        CalibrationError: They are too few, or a task's are all of one class.
    """
    keys: list[str] = []
    pixels: list[NDArray[np.uint8]] = []
    for number, (task, splits) in enumerate(data.items()):
        share = count // len(data) + (number < count % len(data))
        drawn = list(_readable(splits.train, preprocessing, share, _evenly(splits.train, seed)))
        labels = label_texts(splits.train)
        classes = {labels[index] for index, _ in drawn}
        if len(drawn) < min(share, FEWEST):
            msg = (
                f"task {task!r} gives {len(drawn)} pictures to calibrate on, too few; add some "
                "that can be read"
            )
            raise CalibrationError(msg)
        if len(classes) < min(2, len(splits.labels)):
            msg = (
                f"the {len(drawn)} pictures of task {task!r} are all of one class or set of "
                "labels, expected several: their ranges are not those of the others. Raise "
                "--samples, or add pictures."
            )
            raise CalibrationError(msg)
        keys += [f"{task}/{splits.train.name(index)}" for index, _ in drawn]
        pixels += [cropped for _, cropped in drawn]
    if not pixels:
        msg = f"{count} samples are too few to calibrate on; raise --samples"
        raise CalibrationError(msg)
    return CalibrationPictures(tuple(keys), np.stack(pixels))


def for_search(splits: Splits) -> Pictures:
    """Return what layers are chosen on: val where test judges, else the training pictures."""
    return splits.train if splits.val is None or splits.test is None else splits.val


def for_judging(splits: Splits) -> Pictures:
    """Return what a task is judged by: test, or val where there is no test."""
    return splits.final[1]


def labelled(
    data: Mapping[str, Splits],
    preprocessing: Preprocessing,
    most: int,
    *,
    choose: Callable[[Splits], Pictures] = for_judging,
    seed: int = 0,
    among: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, LabelledPictures]:
    """Take each task's pictures with their labels.

    Args:
        data: Data by task.
        preprocessing: The graph's.
        most: Largest number to take of a task, by chance: their classes are as frequent as in all
            of them, so that their accuracy is an estimate of that of all.
        choose: Which of its splits.
        seed: Seed of that choice.
        among: Indices by task of the pictures that may be taken; all without.

    Raises:
        DataError: None of a task's pictures can be read.
    """
    found = {}
    for task, splits in data.items():
        pictures = choose(splits)
        there = range(len(pictures)) if among is None else among[task]
        order = [there[n] for n in keyed_permutation(len(there), "judging", seed).tolist()]
        drawn = list(_readable(pictures, preprocessing, most, order))
        if not drawn:
            msg = f"none of the {len(pictures)} pictures of task {task!r} could be read"
            raise DataError(msg)
        cropped = np.stack([each for _, each in drawn])
        found[task] = LabelledPictures(cropped, _targets(pictures, [index for index, _ in drawn]))
    return found


def _readable(
    pictures: Pictures, preprocessing: Preprocessing, most: int, order: Iterable[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield pictures with their index, resized and cropped; warn of those that cannot be read."""
    given, skipped = 0, list[str]()
    for index in order:
        if given == most:
            break
        try:
            cropped = resize_and_crop(pictures.load(index), preprocessing)
        except InputError:
            skipped.append(pictures.name(index))
            continue
        given += 1
        yield index, cropped
    if skipped:
        named = name_some(skipped)
        warnings.warn(f"skipped {len(skipped)} pictures that cannot be read: {named}", stacklevel=2)


def _evenly(pictures: Pictures, seed: int) -> Iterator[int]:
    """Yield the pictures' indices, class after class in turn, each class in a drawn order.

    Of pictures with any number of labels each is given once, and those without one come in turn
    like those of a label.
    """
    waiting: dict[int, list[int]] = {}
    for index in keyed_permutation(len(pictures), "calibration", seed).tolist():
        for number in _numbers(pictures, index):
            waiting.setdefault(number, []).append(index)
    given = set[int]()
    queues = [iter(waiting[number]) for number in sorted(waiting)]
    while queues:
        left = []
        for queue in queues:
            index = next((each for each in queue if each not in given), None)
            if index is not None:
                given.add(index)
                yield index
                left.append(queue)
        queues = left


def _numbers(pictures: Pictures, index: int) -> tuple[int, ...]:
    if isinstance(pictures, MultiLabelPictures):
        return pictures.present(index) or (-1,)
    return (pictures.target(index),)


def _targets(pictures: Pictures, indices: Sequence[int]) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Return what is right of some pictures, as the gate takes it."""
    if isinstance(pictures, MultiLabelPictures):
        sets = [pictures.present(index) for index in indices]
        return multi_hot(sets, len(pictures.labels)) > 0
    return np.array([pictures.target(index) for index in indices], np.int64)
