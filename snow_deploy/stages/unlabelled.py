"""Pictures without labels, to compare INT8 with fp32 on."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snow_calibration.errors import CalibrationError
from snow_deploy.data.copies import KnownFiles
from snow_deploy.data.imagefolder import find_pictures
from snow_deploy.data.listing import check_folder
from snow_deploy.data.pictures import name_some
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.errors import DataError
from snow_runtime.errors import InputError
from snow_runtime.pictures.preprocessing import load_image, resize_and_crop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Splits
    from snow_runtime.graph.manifest import Preprocessing


def draw_unlabelled(
    folders: Sequence[str], data: Mapping[str, Splits], preprocessing: Preprocessing, most: int
) -> dict[str, NDArray[np.uint8]]:
    """Draw pictures of folders by task: [M, S, S, 3] uint8, resized and cropped, no two alike.

    Pictures that any task was trained on are left out, and copies of them, which a warning tells,
    as it does of those that cannot be read. Equal pictures, as a camera that stands still takes
    them, count as one.

    Args:
        folders: `TASK=FOLDER`, or `FOLDER` for all tasks.
        data: The tasks with their data.
        preprocessing: The graph's.
        most: Largest number to take of a folder.

    Raises:
        CalibrationError: A task is unknown, or has two folders.
        DataError: A folder does not exist, or has no picture that can be used.
    """
    trained = _trained(data if folders else {})
    found: dict[str, NDArray[np.uint8]] = {}
    for spec in folders:
        name, equals, rest = spec.partition("=")
        named = bool(equals) and not Path(spec).exists()
        tasks = [name] if named else list(data)
        for task in tasks:
            if task not in data:
                msg = (
                    f"--unlabelled {spec}: no --data is for a task {task!r}, expected one of "
                    f"{', '.join(data)}"
                )
                raise CalibrationError(msg)
            if task in found:
                msg = f"task {task!r} has two --unlabelled; give one for each task, or one for all"
                raise CalibrationError(msg)
        folder = Path(rest if named else spec).expanduser()
        pixels = _read(folder, trained, preprocessing, most)
        found |= dict.fromkeys(tasks, pixels)
    return found


def _trained(data: Mapping[str, Splits]) -> KnownFiles:
    """Know all training pictures."""
    return KnownFiles(
        split.train.name(n) for split in data.values() for n in range(len(split.train))
    )


def _read(
    folder: Path, trained: KnownFiles, preprocessing: Preprocessing, most: int
) -> NDArray[np.uint8]:
    check_folder(folder, "expected a folder of pictures without labels")
    paths = find_pictures(folder)
    fresh = [path for path in paths if not trained.has(str(path))]
    unreadable: list[str] = []
    pixels: dict[bytes, NDArray[np.uint8]] = {}
    for index in keyed_permutation(len(fresh), "unlabelled", 0).tolist():
        if len(pixels) == most:
            break
        try:
            cropped = resize_and_crop(load_image(fresh[index]), preprocessing)
        except InputError:
            unreadable.append(str(fresh[index]))
            continue
        pixels.setdefault(hashlib.sha256(np.ascontiguousarray(cropped).data).digest(), cropped)
    if unreadable:
        named = name_some(unreadable)
        warnings.warn(
            f"skipped {len(unreadable)} pictures that cannot be read: {named}", stacklevel=2
        )
    if len(fresh) < len(paths):
        warnings.warn(
            f"left out {len(paths) - len(fresh)} pictures of {folder} that were trained on",
            stacklevel=2,
        )
    if not pixels:
        msg = (
            f"{folder} has {len(paths)} pictures, {len(paths) - len(fresh)} of them trained on and "
            f"{len(unreadable)} unreadable; expected some to compare INT8 with fp32 on. Add some."
        )
        raise DataError(msg)
    return np.stack(list(pixels.values()))
