"""Pictures in folders named after their classes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from snow_deploy.data.listing import check_folder
from snow_deploy.data.pictures import FilePictures, Splits, check_same_labels, name_some
from snow_deploy.data.splitting import split_files
from snow_deploy.errors import DataError
from snow_runtime.pictures.picture_files import LeftOut, Reason, examples, why_no_picture

_TRAIN = "train"
_VAL_NAMES = ("val", "valid")
_TEST = "test"
_SPLIT_NAMES = frozenset({_TRAIN, *_VAL_NAMES, _TEST})
_SPLIT_LIKE = _SPLIT_NAMES | {"training", "validation", "testing", "eval", "dev"}
_FEWEST_CLASSES = 2
_AGAIN = Reason("link to a folder that is read already", "links to folders that are read already")
_NO_FILE = Reason("link to nothing, or no plain file", "links to nothing, or no plain files")
_IN_NO_CLASS = Reason("picture that is in no class folder", "pictures that are in no class folder")

_LAYOUT = "expected PATH/{train,val,test}/CLASS/*.jpg or PATH/CLASS/*.jpg"


def read_imagefolder(path: Path, *, seed: int = 0) -> Splits:
    """Read PATH/{train,val|valid,test}/CLASS/* or, split 80/20 by `seed`, PATH/CLASS/*.

    Classes are sorted by name; pictures may lie deeper inside a class folder. What is a picture,
    and which folders are looked into, `snow_runtime.pictures.picture_files` says; the remarks of
    the splits say what was left out.

    Raises:
        DataError: The folder is missing or laid out otherwise, a class or split is empty, or
            two splits have different classes.
    """
    check_folder(path, _LAYOUT)
    left_out = LeftOut()
    folders = class_folders(path)
    _check_layout(path, folders)
    if has_splits(path, folders):
        class_folders(path, left_out)  # the folders of the splits, and what is beside them
        splits = _read_splits(path, folders, left_out, seed=seed)
    else:
        splits = split_files(read_classes(path, left_out), seed=seed)
    return replace(splits, remarks=remarks_of(path, left_out))


def remarks_of(path: Path, left_out: LeftOut) -> tuple[str, ...]:
    """Say in a line what was left out of a folder, if anything was."""
    return (f"left out of {path}: {left_out.summary()}",) if left_out else ()


def find_pictures(folder: Path, left_out: LeftOut | None = None) -> list[Path]:
    """Return every picture under `folder`, sorted by path.

    Args:
        folder: Folder to look in, in the folders below it too.
        left_out: Counter of what is there and is no picture.
    """
    left_out = LeftOut() if left_out is None else left_out
    found: list[Path] = []
    seen: set[str] = set()
    top = os.path.realpath(folder)

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(parent)
        above = real != top and Path(top).is_relative_to(real)
        if real in seen or above:  # a link to a folder above: other classes are in it
            left_out.note(_AGAIN, parent)
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(
            name for name in folders if left_out.enters(name, shown=str(Path(parent, name)))
        )
        for path in (Path(parent, name) for name in sorted(files)):
            if not left_out.takes(path.name, shown=str(path)):
                continue
            if path.is_file():
                found.append(path)
            else:  # a pipe would be waited for without end
                left_out.note(_NO_FILE, str(path))
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def class_folders(path: Path, left_out: LeftOut | None = None) -> list[str]:
    """Name the folders that are read; with `left_out` count what else is beside them."""
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise _unreadable(path, error) from error
    folders = [entry for entry in entries if entry.is_dir()]
    if left_out is not None:
        for entry in (each for each in entries if not each.is_dir()):
            reason = why_no_picture(entry.name) or _IN_NO_CLASS
            left_out.note(reason, str(entry))
    counted = LeftOut() if left_out is None else left_out
    return [each.name for each in folders if counted.enters(each.name, shown=str(each))]


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"The folder {path} cannot be read: {error.strerror}. Give access to it.")


def _check_layout(path: Path, folders: list[str]) -> None:
    """Refuse what looks like splits and is none of those that are read.

    Raises:
        DataError: `Train` and `Test`, `train` and `eval`, or `train` beside classes.
    """
    lacking = [name for name in folders if name.lower() not in _SPLIT_LIKE]
    odd = [name for name in folders if name not in _SPLIT_NAMES]
    if has_splits(path, folders):
        if odd:
            msg = (
                f"{path} has {name_some(odd)} beside its splits, which would not be read; "
                f"{_LAYOUT}. Rename or remove them."
            )
            raise DataError(msg)
    elif len(folders) > 1 and not lacking and all(class_folders(path / each) for each in folders):
        msg = f"{path} has {name_some(folders)}, which look like splits; {_LAYOUT}. Rename them."
        raise DataError(msg)


def has_splits(path: Path, folders: list[str]) -> bool:
    """Tell PATH/train/CLASS/* from PATH/CLASS/*, where a class may be called "train" too."""
    if folders and _SPLIT_NAMES.issuperset(folders):
        return True
    return _TRAIN in folders and bool(class_folders(path / _TRAIN))


def _read_splits(path: Path, folders: list[str], left_out: LeftOut, *, seed: int) -> Splits:
    names = _SPLIT_NAMES.intersection(folders)
    if _TRAIN not in names:
        msg = (
            f"{path} has {name_some(sorted(names))} but no train folder; {_LAYOUT}. "
            "Add the train folder."
        )
        raise DataError(msg)
    val_names = [name for name in _VAL_NAMES if name in names]
    if len(val_names) > 1:
        msg = f"{path} has both a val and a valid folder, expected one of them. Remove the other."
        raise DataError(msg)
    labels = _class_names(path / _TRAIN)
    for name in sorted(names - {_TRAIN}):
        check_same_labels(name, _class_names(path / name), _TRAIN, labels)
    train = read_classes(path / _TRAIN, left_out)
    if len(names) == 1:
        return split_files(train, seed=seed)
    return Splits(
        train=train,
        val=read_classes(path / val_names[0], left_out) if val_names else None,
        test=read_classes(path / _TEST, left_out) if _TEST in names else None,
    )


def _class_names(folder: Path, left_out: LeftOut | None = None) -> list[str]:
    labels = class_folders(folder, left_out)
    if labels:
        return labels
    msg = f"{folder} has no class folders in it; {_LAYOUT}. Make one folder for each class."
    raise DataError(msg)


def read_classes(folder: Path, left_out: LeftOut) -> FilePictures:
    """Read CLASS/* under `folder`.

    Args:
        folder: Folder of the classes' folders.
        left_out: Counter of what is there and is no picture.

    Raises:
        DataError: There is one class or none, or a class is empty.
    """
    labels = _class_names(folder, left_out)
    if len(labels) < _FEWEST_CLASSES:
        msg = (
            f'{folder} has one class only, "{labels[0]}", expected two or more to tell apart; '
            f"{_LAYOUT}. Add a folder for another class."
        )
        raise DataError(msg)
    passed_over = LeftOut()  # in the folders that turn out to be empty
    by_class: list[list[Path]] = []
    for label in labels:
        by_class.append(find_pictures(folder / label, left_out))
        if not by_class[-1]:
            find_pictures(folder / label, passed_over)
    empty = [label for label, paths in zip(labels, by_class, strict=True) if not paths]
    there = f" What is there: {passed_over.summary()}." if passed_over else ""
    if empty and len(empty) == len(labels):
        msg = (
            f"{folder} is empty: there are no pictures in any of its folders; {_LAYOUT}.{there} "
            f"Add pictures ({examples()})."
        )
        raise DataError(msg)
    if empty:
        msg = (
            f"{folder} holds no pictures of {name_some(empty)}, expected at least one in every "
            f"class folder.{there} Add pictures ({examples()}), or remove the folder."
        )
        raise DataError(msg)
    return FilePictures(
        paths=tuple(path for paths in by_class for path in paths),
        targets=tuple(number for number, paths in enumerate(by_class) for _ in paths),
        labels=tuple(labels),
    )
