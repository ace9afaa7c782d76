"""The data sets of the paper that torchvision reads: Food-101, DTD and Stanford Cars."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchvision import datasets

from snow_deploy.data.listing import listed_splits
from snow_deploy.data.pictures import FilePictures, check_same_labels
from snow_deploy.errors import DataError
from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_deploy.data.pictures import Splits


@dataclass(frozen=True)
class _Published:
    """A data set and where it comes from.

    Attributes:
        title: Its name.
        reader: Torchvision's class.
        by_hand: How to put it in place, with {root} for the folder.
        downloads: False where nobody offers it for download by a program.
    """

    title: str
    reader: Callable[..., Any]
    by_hand: str
    downloads: bool = True


_FOOD101 = _Published(
    "Food-101",
    datasets.Food101,
    "unpack http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz in {root}, "
    "so that {root}/food-101/meta/train.json is there",
)
_DTD = _Published(
    "DTD",
    datasets.DTD,
    "unpack https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz in {root}/dtd, "
    "so that {root}/dtd/dtd/labels/train1.txt is there",
)
_STANFORD_CARS = _Published(
    "Stanford Cars",
    datasets.StanfordCars,
    "get a copy (its authors no longer offer it) and put it in {root}/stanford_cars as "
    "cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat",
    downloads=False,
)


def read_food101(root: Path, *, download: bool = False) -> Splits:
    """Read Food-101 with its own train and test split.

    Args:
        root: The folder that has food-101 in it.
        download: Whether to fetch it first, if it isn't there.

    Raises:
        DataError: It isn't there or can't be read; the message says how to get it by hand.
    """
    train, test = (_read(_FOOD101, root, split, download=download) for split in ("train", "test"))
    return listed_splits(train, test)


def read_dtd(root: Path, *, download: bool = False) -> Splits:
    """Read the Describable Textures Dataset, partition 1; train and val are trained on together.

    So the paper does: 3,760 pictures, its Table 3.

    Args:
        root: The folder that has dtd in it.
        download: Whether to fetch it first, if it isn't there.

    Raises:
        DataError: It isn't there or can't be read; the message says how to get it by hand.
    """
    train, val, test = (
        _read(_DTD, root, split, download=download, partition=1)
        for split in ("train", "val", "test")
    )
    check_same_labels("val", val.labels, "train", train.labels)
    both = FilePictures(
        paths=(*train.paths, *val.paths),
        targets=(*train.targets, *val.targets),
        labels=train.labels,
    )
    return listed_splits(both, test)


def read_stanford_cars(root: Path, *, download: bool = False) -> Splits:
    """Read Stanford Cars with its own train and test split.

    Args:
        root: The folder that has stanford_cars in it.
        download: Flag without effect but on the message: the data can't be downloaded any more.

    Raises:
        DataError: It isn't there or can't be read; the message says how to get it by hand.
        MissingDependencyError: Scipy isn't installed.
    """
    if importlib.util.find_spec("scipy") is None:
        msg = (
            "Cannot read Stanford Cars: its lists are .mat files, which need scipy, and scipy is "
            f"not installed. Install it: {pip_install('train')}"
        )
        raise MissingDependencyError(msg)
    train, test = (
        _read(_STANFORD_CARS, root, split, download=download) for split in ("train", "test")
    )
    return listed_splits(train, test)


def _read(
    published: _Published, root: Path, split: str, *, download: bool, **options: int
) -> FilePictures:
    """Read one split with torchvision's class, opening no picture."""
    if download and published.downloads:
        root.mkdir(parents=True, exist_ok=True)
    try:
        dataset = published.reader(
            root, split=split, loader=Path, download=download and published.downloads, **options
        )
        listed = [dataset[index] for index in range(len(dataset))]
    # torchvision raises RuntimeError and ValueError of its own; a broken download or list raises
    # whatever the network, the archive or the parser does.
    except Exception as error:
        raise DataError(_explain(published, root, error, download=download)) from error
    return FilePictures(
        paths=tuple(path for path, _ in listed),
        targets=tuple(int(target) for _, target in listed),
        labels=tuple(dataset.classes),
    )


def _explain(published: _Published, root: Path, error: Exception, *, download: bool) -> str:
    attempt = "download" if download else "read"
    automatic = "Let it be downloaded, or " if published.downloads and not download else ""
    by_hand = published.by_hand.format(root=root)
    advice = automatic + by_hand if automatic else by_hand[0].upper() + by_hand[1:]
    return f"Cannot {attempt} {published.title} in {root}: {_reason(error)}. {advice}."


def _reason(error: Exception) -> str:
    text = str(error).split("You can use", maxsplit=1)[0]  # torchvision's hint at its own argument
    return text.strip().rstrip(".") or type(error).__name__
