"""Data sets, and batches of their pictures.

pictures           what a data set is
spec               from `--data KIND:PATH` to a data set
imagefolder        folders named after classes
listing            what the readers of published lists share
torchvision_sets   Food-101, DTD and Stanford Cars, by torchvision
cub200             CUB-200-2011, as published
stanford40         Stanford-40 Actions, as published
webdataset         tars of labelled pictures
tar_index          what is in such a tar, and where
tar_pictures       its pictures
csv_table          a CSV file with a column for each question
csv_rows           its rows and their splits
csv_multilabel     the same with any number of labels a picture
demo               rendered pictures and the questions about them, nothing to download
demo_picture       how one of them is rendered
drawing            filled outlines and strokes
label_remarks      labels that look like a mistake
duplicates, copies   the same picture in two splits, or under two labels
multilabel         pictures with any number of labels each
splitting          a seeded split of data that has none
multilabel_split   the same where pictures have any number of labels
hold_out           a validation part of the training pictures
seeding            random numbers that depend on a key alone
transforms         from a picture to a tensor
loading            batches
workers            the processes that load pictures
"""

from __future__ import annotations

from snow_deploy.data.multilabel import MultiLabelFiles
from snow_deploy.data.pictures import (
    Augmentation,
    FilePictures,
    MultiLabelPictures,
    Pictures,
    Splits,
)
from snow_deploy.data.spec import DataSpec, open_data, parse_spec

__all__ = [
    "Augmentation",
    "DataSpec",
    "FilePictures",
    "MultiLabelFiles",
    "MultiLabelPictures",
    "Pictures",
    "Splits",
    "open_data",
    "parse_spec",
]
