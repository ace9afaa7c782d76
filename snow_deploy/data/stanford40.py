"""Stanford-40 Actions (Yao et al., 2011), in the layout it is published in.

::

    Stanford40/
    ├── ImageSplits/actions.txt       a line of headings, then <action> <number of images>
    ├── ImageSplits/ACTION_train.txt  one file name a line
    ├── ImageSplits/ACTION_test.txt
    └── JPEGImages/*.jpg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.data.listing import check_folder, find_root, listed_splits, read_table
from snow_deploy.data.pictures import FilePictures

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Splits

_EXPECTED = (
    "expected Stanford40_JPEGImages.zip and Stanford40_ImageSplits.zip, from "
    "http://vision.stanford.edu/Datasets/40actions.html, unpacked there as JPEGImages and "
    "ImageSplits"
)


def read_stanford40(path: Path) -> Splits:
    """Read Stanford-40 with its own train and test split.

    Args:
        path: The folder that has JPEGImages and ImageSplits in it, or the folder above.

    Raises:
        DataError: A list or JPEGImages is missing, or a class or split is empty.
    """
    root = find_root(path, "ImageSplits/actions.txt", _EXPECTED)
    check_folder(root / "JPEGImages", _EXPECTED)
    lines = read_table(root / "ImageSplits" / "actions.txt", columns=2)
    labels = tuple(action for action, count in lines if count.isdigit())  # not the headings
    return listed_splits(
        train=_pictures(root, labels, "train"), test=_pictures(root, labels, "test")
    )


def _pictures(root: Path, labels: tuple[str, ...], split: str) -> FilePictures:
    listed = [
        (root / "JPEGImages" / name, target)
        for target, label in enumerate(labels)
        for (name,) in read_table(root / "ImageSplits" / f"{label}_{split}.txt", columns=1)
    ]
    return FilePictures(
        paths=tuple(path for path, _ in listed),
        targets=tuple(target for _, target in listed),
        labels=labels,
    )
