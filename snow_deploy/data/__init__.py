"""Data sets, and batches of their pictures.

pictures           what a data set is
spec               from `--data KIND:PATH` to a data set
imagefolder        folders named after classes
listing            what the readers of published lists share
torchvision_sets   Food-101, DTD and Stanford Cars, by torchvision
cub200             CUB-200-2011, as published
stanford40         Stanford-40 Actions, as published
csv_table          a CSV file with a column for each question
demo               rendered pictures and the questions about them, nothing to download
demo_picture       how one of them is rendered
drawing            filled outlines and strokes
label_remarks      labels that look like a mistake
duplicates, copies   the same picture in two splits, or under two labels
splitting          a seeded split of data that has none
seeding            random numbers that depend on a key alone
transforms         from a picture to a tensor
loading            batches
workers            the processes that load pictures
"""

from __future__ import annotations

from snow_deploy.data.pictures import Augmentation, FilePictures, Pictures, Splits
from snow_deploy.data.spec import DataSpec, open_data, parse_spec

__all__ = [
    "Augmentation",
    "DataSpec",
    "FilePictures",
    "Pictures",
    "Splits",
    "open_data",
    "parse_spec",
]
