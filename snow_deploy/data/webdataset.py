"""Tars of labelled pictures, as WebDataset has them: `webdataset:shards/train-{000..127}.tar`.

A sample's picture and its label share their name up to the first dot: `0001.jpg` and `0001.cls`, or
`0001.json` with `label` or `labels` in it. A tar belongs to the split that its name begins with, or
that its folder is named after. Where none tells, or all say train, a fifth is drawn for the test.
"""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snow_deploy.data.multilabel_split import split_sets
from snow_deploy.data.pictures import Splits, name_some
from snow_deploy.data.splitting import stratified_split
from snow_deploy.data.tar_index import read_tar_index
from snow_deploy.data.tar_pictures import MultiLabelTarPictures, TarPictures
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.data.tar_index import TarSample

_SPLIT: Final = re.compile(
    r"(train|val|test)(?![a-z])|(training|valid|validation|testing)(?![a-z])"
)
_MEANT: Final = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
_NAMES: Final = ("classes.txt", "labels.txt")
_MAGIC: Final = "*?["
_Places = list[tuple[Path, "TarSample"]]


def read_webdataset(pattern: str, *, seed: int = 0) -> Splits:
    """Read the labelled pictures of tars.

    Classes are sorted by name, and by value where all are whole numbers. A file `classes.txt` or
    `labels.txt` beside the tars names classes that are numbers, one a line.

    Args:
        pattern: A tar, a folder of tars, or a pattern of them with braces and wildcards.
        seed: Seed of the split of tars whose names tell none.

    Raises:
        DataError: There are no tars, one is cut off or damaged, or their labels cannot be trained
            on; the message names the tar.
    """
    tars = find_tars(pattern)
    by_split: dict[str, _Places] = {}
    unlabelled = 0
    for tar in tars:
        index = read_tar_index(tar)
        unlabelled += index.unlabelled
        places = by_split.setdefault(split_of(tar), [])
        places += [(tar, sample) for sample in index.samples]
    if not any(by_split.values()):
        msg = (
            f"The {len(tars)} tars of {pattern} have no labelled picture, expected such as "
            "0001.jpg with 0001.cls or 0001.json beside it. Pack the labels too."
        )
        raise DataError(msg)
    remarks: tuple[str, ...] = ()
    if unlabelled:
        remarks = (f"left out of {pattern}: {unlabelled} pictures without a label beside them",)
    if by_split.keys() == {"train"}:
        by_split = {"all": by_split["train"]}
    return _splits(pattern, by_split, tars[0].parent, remarks, seed)


def find_tars(pattern: str) -> list[Path]:
    """Return the tars that a pattern names, in the order of its braces and else by name.

    Raises:
        DataError: There are none, one that is named is missing, or a brace is not closed.
    """
    if "://" in pattern:
        msg = (
            f"{pattern} is not on a disk of this machine, expected tars that are: training reads "
            "from the middle of them, again each epoch. Copy or mount them."
        )
        raise DataError(msg)
    path = Path(pattern).expanduser()
    if path.is_dir():
        found = sorted(path.rglob("*.tar"))
    else:
        found = [each for one in _expanded(str(path)) for each in _named(one)]
    found = [each for each in found if not each.name.startswith(".")]
    twice = sorted({str(each) for each in found if found.count(each) > 1}) if found else []
    if twice:
        msg = f"{pattern} names {name_some(twice)} twice, expected each tar once. Correct it."
        raise DataError(msg)
    if not found:
        msg = (
            f"{pattern} names no tar, expected a .tar, a folder of them, or a pattern such as "
            "shards/train-{000..127}.tar. Check the path."
        )
        raise DataError(msg)
    return found


def split_of(tar: Path) -> str:
    """Return the split that a tar's name begins with, or that its folder is named after; or `all`.

    Of a folder it is the whole name: one called `test_2024` tells nothing.
    """
    for found in (_SPLIT.match(tar.name.lower()), _SPLIT.fullmatch(tar.parent.name.lower())):
        if found:
            return _MEANT.get(found[0], found[0])
    return "all"


def _expanded(pattern: str) -> list[str]:
    if "{" not in pattern:
        return [pattern]
    import braceexpand

    try:
        return list(braceexpand.braceexpand(pattern))
    except ValueError as error:
        msg = f"{pattern} has a brace that is not closed: {error}. Write {{000..127}} or {{a,b}}."
        raise DataError(msg) from error


def _named(one: str) -> list[Path]:
    if any(sign in one for sign in _MAGIC):
        return [Path(each) for each in sorted(glob.glob(one, recursive=True))]  # noqa: PTH207
    if not Path(one).is_file():
        msg = f"The tar {one} is not there. Copy it, or correct the pattern."
        raise DataError(msg)
    return [Path(one)]


def _splits(
    pattern: str,
    by_split: Mapping[str, _Places],
    folder: Path,
    remarks: tuple[str, ...],
    seed: int,
) -> Splits:
    """Put the pictures together, split by names or by lot."""
    if "all" in by_split and len(by_split) > 1:
        tar = by_split["all"][0][0] if by_split["all"] else pattern
        msg = (
            f"Some tars of {pattern} are named after a split and others are not, such as {tar}: "
            "expected train, val or test at the beginning of each name, or of none."
        )
        raise DataError(msg)
    every = [sample.label for places in by_split.values() for _, sample in places]
    if any(isinstance(label, tuple) for label in every):
        return _several(pattern, by_split, remarks, seed)
    labels = _class_order({str(label) for label in every})
    if len(labels) < 2:
        msg = f"{pattern} has one class only, {name_some(labels)}, expected two or more."
        raise DataError(msg)
    number = {label: index for index, label in enumerate(labels)}
    named = _class_names(folder, labels)
    found = {
        split: TarPictures(
            tuple(places), named, tuple(number[str(sample.label)] for _, sample in places)
        )
        for split, places in by_split.items()
    }
    if "all" in found:
        whole = found["all"]
        train, test = stratified_split(whole.targets, whole.labels, seed=seed)
        return Splits(whole.subset(train), None, whole.subset(test), remarks=remarks)
    _check_train(pattern, found)
    for split, pictures in found.items():
        absent = sorted(set(range(len(labels))) - set(pictures.targets))
        if absent:
            msg = (
                f"The {split} tars of {pattern} have no picture of "
                f"{name_some([named[each] for each in absent])}, expected some of every class."
            )
            raise DataError(msg)
    return Splits(found["train"], found.get("val"), found.get("test"), remarks=remarks)


def _several(
    pattern: str, by_split: Mapping[str, _Places], remarks: tuple[str, ...], seed: int
) -> Splits:
    """Put pictures together that have any number of labels each."""
    single = next(
        (
            f"{tar}#{sample.member}"
            for places in by_split.values()
            for tar, sample in places
            if isinstance(sample.label, str)
        ),
        None,
    )
    if single is not None:
        msg = (
            f"Some pictures of {pattern} have a list of labels and others one label, such as "
            f'{single}. Write {{"labels": […]}} for all of them.'
        )
        raise DataError(msg)
    labels = _class_order(
        {each for places in by_split.values() for _, sample in places for each in sample.label}
    )
    if not labels:
        msg = f"No picture of {pattern} has a label, expected two or more with each."
        raise DataError(msg)
    number = {label: index for index, label in enumerate(labels)}
    found = {
        split: MultiLabelTarPictures(
            tuple(places),
            tuple(labels),
            tuple(tuple(sorted(number[each] for each in sample.label)) for _, sample in places),
        )
        for split, places in by_split.items()
    }
    if "all" in found:
        whole = found["all"]
        train, test = split_sets(whole.sets, "webdataset split", seed=seed)
        return Splits(whole.subset(train), None, whole.subset(test), remarks=remarks)
    _check_train(pattern, found)
    return Splits(found["train"], found.get("val"), found.get("test"), remarks=remarks)


def _check_train(pattern: str, found: Mapping[str, object]) -> None:
    if "train" not in found:
        msg = (
            f"{pattern} has tars of {name_some(sorted(found))} and none to train on, expected some "
            "whose names begin with train. Add them to the pattern: shards/{train,test}-*.tar."
        )
        raise DataError(msg)


def _class_order(labels: set[str]) -> list[str]:
    """Sort labels by value where all are whole numbers, else by name."""
    if all(label.isascii() and label.isdecimal() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def _class_names(folder: Path, labels: list[str]) -> tuple[str, ...]:
    """Return names for classes that are numbers, where a file beside the tars has them."""
    file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if file is None or not all(label.isascii() and label.isdecimal() for label in labels):
        return tuple(labels)
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        msg = f"The names of the classes in {file} cannot be read: {error}. Correct or remove it."
        raise DataError(msg) from error
    missing = [label for label in labels if int(label) >= len(names) or not names[int(label)]]
    found = tuple(names[int(label)] for label in labels if label not in missing)
    if missing or len(set(found)) < len(found):
        seen = f"no name for {name_some(missing)}" if missing else "a name twice"
        msg = (
            f"{file} has {seen}, expected a name of its own for each class, that of class 0 in the "
            "first line. Correct or remove it."
        )
        raise DataError(msg)
    return found
