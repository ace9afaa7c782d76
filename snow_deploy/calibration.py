"""From data sets to what calibration looks at: pictures drawn evenly, and pictures to judge by."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np

from snow_calibration.errors import CalibrationError
from snow_calibration.float_graph import read_float_graph
from snow_calibration.pictures import FEWEST, Labelled, Samples
from snow_deploy.data import open_data
from snow_deploy.data.pictures import name_some
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.errors import DataError
from snow_runtime.errors import InputError
from snow_runtime.preprocessing import resize_and_crop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Pictures, Splits
    from snow_runtime.manifest import Manifest, Preprocessing


_LOGGER = logging.getLogger(__name__)


def pictures_of(
    graph: Path, specs: Sequence[str], samples: int, validation: int, seed: int = 0
) -> tuple[Samples, dict[str, Labelled]]:
    """Draw what a graph is calibrated on, and what it is judged by.

    Args:
        graph: An fp32 graph.
        specs: See `data_of_tasks`.
        samples: How many training pictures to calibrate on, in all.
        validation: How many to judge each task by, at most.
        seed: That the tasks were trained with: it splits data that has no splits of its own.

    Raises:
        CalibrationError: The graph or the data cannot be calibrated with.
        DataError: The data cannot be read.
    """
    manifest = read_float_graph(graph).manifest
    data = data_of_tasks(specs, manifest, seed)
    preprocessing = manifest.preprocessing
    return draw_samples(data, preprocessing, samples), labelled(data, preprocessing, validation)


def data_of_tasks(specs: Sequence[str], manifest: Manifest, seed: int = 0) -> dict[str, Splits]:
    """Open data sets and find the task of each: `TASK=KIND:PATH`, or the one with its labels.

    The source's own head may have data and need not.

    Raises:
        CalibrationError: A task is unknown, has no data, or has two, or there is no task.
        DataError: A data set cannot be read, or has other labels than its task.
    """
    tasks = {task.name: task.labels for task in manifest.tasks}
    needed = [task.name for task in manifest.tasks if task.sha256 is not None]
    if not needed:
        msg = "the graph has no task but the source's own head; export some with --tasks"
        raise CalibrationError(msg)
    found: dict[str, Splits] = {}
    for spec in specs:
        name, equals, rest = spec.partition("=")
        named = bool(equals) and ":" not in name
        data = open_data(rest if named else spec, seed=seed)
        for remark in data.remarks:
            _LOGGER.warning("%s", remark)
        if named and name not in tasks:
            msg = f"the graph has no task {name!r}, expected one of {', '.join(tasks)}"
            raise CalibrationError(msg)
        fitting = [name] if named else [task for task in tasks if tasks[task] == data.labels]
        if len(fitting) != 1:
            fits = f"fits {' and '.join(fitting)}" if fitting else "has the labels of no task"
            msg = f"{spec} {fits}; say which it is for, as in --data {needed[0]}={spec}"
            raise CalibrationError(msg)
        task = fitting[0]
        if data.labels != tasks[task]:
            msg = (
                f"{spec} has {len(data.labels)} labels ({', '.join(data.labels[:3])} …), expected "
                f"the {len(tasks[task])} that task {task!r} was trained with"
            )
            raise DataError(msg)
        if task in found:
            msg = f"task {task!r} has two --data; give one for each task"
            raise CalibrationError(msg)
        found[task] = data
    if missing := sorted(set(needed) - set(found)):
        msg = f"there is no --data for {', '.join(missing)}; every task is calibrated and judged"
        raise CalibrationError(msg)
    return found


def draw_samples(
    data: Mapping[str, Splits], preprocessing: Preprocessing, count: int, seed: int = 0
) -> Samples:
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
        drawn = list(_readable(splits.train, preprocessing, share, seed))
        classes = {splits.train.target(index) for index, _ in drawn}
        if len(drawn) < min(share, FEWEST):
            msg = (
                f"task {task!r} gives {len(drawn)} pictures to calibrate on, too few; add some "
                "that can be read"
            )
            raise CalibrationError(msg)
        if len(classes) < min(2, len(splits.labels)):
            msg = (
                f"the {len(drawn)} pictures of task {task!r} are all of one class, expected "
                "several: their ranges are not those of the others. Raise --samples, or add "
                "pictures."
            )
            raise CalibrationError(msg)
        keys += [f"{task}/{splits.train.name(index)}" for index, _ in drawn]
        pixels += [cropped for _, cropped in drawn]
    if not pixels:
        msg = f"{count} samples are too few to calibrate on; raise --samples"
        raise CalibrationError(msg)
    return Samples(tuple(keys), np.stack(pixels))


def labelled(
    data: Mapping[str, Splits], preprocessing: Preprocessing, most: int, seed: int = 0
) -> dict[str, Labelled]:
    """Take each task's pictures to judge by: of val, or of test where there is no val.

    Args:
        data: By task.
        preprocessing: The graph's.
        most: Take so many of a task, evenly over its classes, where it has more.
        seed: Of that choice.

    Raises:
        DataError: None of a task's pictures can be read.
    """
    found = {}
    for task, splits in data.items():
        pictures = splits.evaluation[1]
        drawn = list(_readable(pictures, preprocessing, most, seed))
        if not drawn:
            msg = f"none of the {len(pictures)} pictures of task {task!r} could be read"
            raise DataError(msg)
        targets = np.array([pictures.target(index) for index, _ in drawn], np.int64)
        found[task] = Labelled(np.stack([cropped for _, cropped in drawn]), targets)
    return found


def _readable(
    pictures: Pictures, preprocessing: Preprocessing, most: int, seed: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield pictures with their index, resized and cropped; warn of those that cannot be read."""
    given, skipped = 0, list[str]()
    for index in _evenly(pictures, seed):
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
    """Yield the pictures' indices, class after class in turn, each class in a drawn order."""
    waiting: dict[int, list[int]] = {}
    for index in keyed_permutation(len(pictures), "calibration", seed).tolist():
        waiting.setdefault(pictures.target(index), []).append(index)
    queues = [iter(waiting[target]) for target in sorted(waiting)]
    while queues:
        left = []
        for queue in queues:
            index = next(queue, None)
            if index is not None:
                yield index
                left.append(queue)
        queues = left
