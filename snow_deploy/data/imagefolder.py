"""Pictures in folders named after their classes."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from snow_deploy.data.listing import check_folder
from snow_deploy.data.pictures import FilePictures, Splits, check_same_labels, name_some
from snow_deploy.data.splitting import split_files
from snow_deploy.errors import DataError

_TRAIN = "train"
_VAL_NAMES = ("val", "valid")
_TEST = "test"
_SPLIT_NAMES = frozenset({_TRAIN, *_VAL_NAMES, _TEST})
_SPLIT_LIKE = _SPLIT_NAMES | {"training", "validation", "testing", "eval", "dev"}
_FEWEST_CLASSES = 2

# Formats that PIL recognises but can't decode by itself: a stub, or an outside program.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})

_LAYOUT = "expected PATH/{train,val,test}/CLASS/*.jpg or PATH/CLASS/*.jpg"


def read_imagefolder(path: Path, *, seed: int = 0) -> Splits:
    """Read PATH/{train,val|valid,test}/CLASS/* or, split 80/20 by `seed`, PATH/CLASS/*.

    Classes are sorted by name. Hidden files and folders are ignored, as is everything that isn't
    a picture by its extension; pictures may lie deeper inside a class folder.

    Raises:
        DataError: the folder is missing or laid out otherwise, a class or split is empty, or
            two splits have different classes.
    """
    check_folder(path, _LAYOUT)
    folders = _subfolders(path)
    _check_layout(path, folders)
    if _has_splits(path, folders):
        return _read_splits(path, folders, seed=seed)
    return split_files(_read_classes(path), seed=seed)


@functools.cache
def picture_extensions() -> frozenset[str]:
    """Return the extensions, lower case with their dot, of the formats that PIL can decode."""
    from PIL import Image

    extensions = Image.registered_extensions()
    readable = set(Image.OPEN) - _NOT_DECODED
    return frozenset(ending for ending, kind in extensions.items() if kind in readable)


def find_pictures(folder: Path) -> list[Path]:
    """Return every picture under `folder`, sorted by path; hidden files and folders left out."""
    found: list[Path] = []
    extensions = picture_extensions()
    seen: set[str] = set()
    top = os.path.realpath(folder)

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(parent)
        above = real != top and Path(top).is_relative_to(real)
        if real in seen or above:  # a link to a folder above: other classes are in it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent, name) for name in files if not name.startswith("."))
        found.extend(path for path in paths if path.suffix.lower() in extensions)
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _subfolders(path: Path) -> list[str]:
    try:
        return sorted(
            entry.name
            for entry in path.iterdir()
            if entry.is_dir() and not entry.name.startswith(".")
        )
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"The folder {path} cannot be read: {error.strerror}. Give access to it.")


def _check_layout(path: Path, folders: list[str]) -> None:
    """Refuse what looks like splits and is none of those that are read.

    Raises:
        DataError: `Train` and `Test`, `train` and `eval`, or `train` beside classes.
    """
    lacking = [name for name in folders if name.lower() not in _SPLIT_LIKE]
    odd = [name for name in folders if name not in _SPLIT_NAMES]
    if _has_splits(path, folders):
        if odd:
            raise DataError(
                f"{path} has {name_some(odd)} beside its splits, which would not be read; "
                f"{_LAYOUT}. Rename or remove them."
            )
    elif len(folders) > 1 and not lacking and all(_subfolders(path / each) for each in folders):
        raise DataError(
            f"{path} has {name_some(folders)}, which look like splits; {_LAYOUT}. Rename them."
        )


def _has_splits(path: Path, folders: list[str]) -> bool:
    """Tell PATH/train/CLASS/* from PATH/CLASS/*, where a class may be called "train" too."""
    if folders and _SPLIT_NAMES.issuperset(folders):
        return True
    return _TRAIN in folders and bool(_subfolders(path / _TRAIN))


def _read_splits(path: Path, folders: list[str], *, seed: int) -> Splits:
    names = _SPLIT_NAMES.intersection(folders)
    if _TRAIN not in names:
        raise DataError(
            f"{path} has {name_some(sorted(names))} but no train folder; {_LAYOUT}. "
            "Add the train folder."
        )
    val_names = [name for name in _VAL_NAMES if name in names]
    if len(val_names) > 1:
        raise DataError(
            f"{path} has both a val and a valid folder, expected one of them. Remove the other."
        )
    labels = _class_names(path / _TRAIN)
    for name in sorted(names - {_TRAIN}):
        check_same_labels(name, _class_names(path / name), _TRAIN, labels)
    train = _read_classes(path / _TRAIN)
    if len(names) == 1:
        return split_files(train, seed=seed)
    return Splits(
        train=train,
        val=_read_classes(path / val_names[0]) if val_names else None,
        test=_read_classes(path / _TEST) if _TEST in names else None,
    )


def _class_names(folder: Path) -> list[str]:
    labels = _subfolders(folder)
    if labels:
        return labels
    raise DataError(
        f"{folder} has no class folders in it; {_LAYOUT}. Make one folder for each class."
    )


def _read_classes(folder: Path) -> FilePictures:
    """Read CLASS/* under `folder`."""
    labels = _class_names(folder)
    if len(labels) < _FEWEST_CLASSES:
        raise DataError(
            f'{folder} has one class only, "{labels[0]}", expected two or more to tell apart; '
            f"{_LAYOUT}. Add a folder for another class."
        )
    by_class = [find_pictures(folder / label) for label in labels]
    empty = [label for label, paths in zip(labels, by_class, strict=True) if not paths]
    if empty and len(empty) == len(labels):
        raise DataError(
            f"{folder} is empty: there are no pictures in any of its folders; {_LAYOUT}. "
            "Add pictures."
        )
    if empty:
        raise DataError(
            f"{folder} holds no pictures of {name_some(empty)}, expected at least one in every "
            "class folder. Add pictures, or remove the folder."
        )
    return FilePictures(
        paths=tuple(path for paths in by_class for path in paths),
        targets=tuple(number for number, paths in enumerate(by_class) for _ in paths),
        labels=tuple(labels),
    )
