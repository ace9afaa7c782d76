"""Pictures in a folder for each class, all of them to learn from: no splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from snow_deploy.data.imagefolder import (
    class_folders,
    find_pictures,
    has_splits,
    read_classes,
    remarks_of,
)
from snow_deploy.data.label_remarks import label_remarks
from snow_deploy.data.listing import check_folder
from snow_deploy.data.pictures import FilePictures, name_some
from snow_deploy.errors import DataError
from snow_runtime.pictures.picture_files import LeftOut, examples

if TYPE_CHECKING:
    from collections.abc import Sequence

_LAYOUT: Final = "expected one folder PHOTOS/CLASS/*.jpg, or a folder for each class"


def read_class_folders(paths: Sequence[Path]) -> tuple[FilePictures, tuple[str, ...]]:
    """Read one folder with a folder for each class in it, or several, each of a class by its name.

    What is a picture, and which folders are looked into, is as in an imagefolder.

    Args:
        paths: Paths of the folders, one or more.

    Returns:
        The pictures, sorted by class and path, and remarks: what was left out, what looks odd.

    Raises:
        DataError: A folder is missing, laid out otherwise or has splits; there is one class only,
            or one is empty.
    """
    left_out = LeftOut()
    for path in paths:
        check_folder(path, _LAYOUT)
    if len(paths) == 1:
        folder = paths[0]
        if has_splits(folder, class_folders(folder)):
            msg = (
                f"{folder} is split into train and test, {_LAYOUT}: the accuracy is found by "
                f"cross-validation. Give {folder / 'train'}."
            )
            raise DataError(msg)
        pictures = read_classes(folder, left_out)
    else:
        pictures = _read_each(paths, left_out)
    place = str(paths[0]) if len(paths) == 1 else "the folders"
    return pictures, (*remarks_of(Path(place), left_out), *label_remarks(pictures.labels))


def _read_each(paths: Sequence[Path], left_out: LeftOut) -> FilePictures:
    by_label: dict[str, list[Path]] = {}
    for path in paths:
        label = path.resolve().name
        if label in by_label:
            msg = (
                f"Two of the folders are called {label}, expected a name of its own for each "
                "class. Rename one, or put the pictures of a class into one folder."
            )
            raise DataError(msg)
        by_label[label] = find_pictures(path, left_out)
        if not by_label[label]:
            msg = f"{path} holds no pictures; {_LAYOUT}. Add pictures ({examples()})."
            raise DataError(msg)
    _refuse_sets(paths, by_label)
    labels = tuple(sorted(by_label))
    return FilePictures(
        paths=tuple(path for label in labels for path in by_label[label]),
        targets=tuple(number for number, label in enumerate(labels) for _ in by_label[label]),
        labels=labels,
    )


def _refuse_sets(paths: Sequence[Path], by_label: dict[str, list[Path]]) -> None:
    """Refuse several folders that each have class folders in them: no classes, but sets of them.

    Raises:
        DataError: In all of them the pictures lie in folders of the same names.
    """
    inner = [
        {found.relative_to(path).parts[0] for found in by_label[path.resolve().name]}
        for path in paths
    ]
    if all(names == inner[0] and len(names) > 1 for names in inner) and all(
        (path / name).is_dir() for path in paths for name in inner[0]
    ):
        msg = (
            f"{name_some([str(path) for path in paths])} each have the folders "
            f"{name_some(sorted(inner[0]))} in them, {_LAYOUT}. Put the pictures of a class into "
            "one folder."
        )
        raise DataError(msg)
