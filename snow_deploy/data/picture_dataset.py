"""Pictures as a plain dataset of torch, for loaders of anyone's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

from snow_deploy.data.multilabel import multi_hot
from snow_deploy.data.pictures import MultiLabelPictures

if TYPE_CHECKING:
    from snow_deploy.data.pictures import Pictures
    from snow_deploy.data.transforms import Transform


class PictureDataset(Dataset[tuple[torch.Tensor, "int | torch.Tensor"]]):
    """A split of `open_data`, or any other `Pictures`, as tensors and targets.

    Pictures are read as on the device: upright, in RGB, on white where they are transparent.
    """

    def __init__(self, pictures: Pictures, transform: Transform) -> None:
        """Take the pictures and how they become tensors, such as `make_transform` gives."""
        self.pictures = pictures
        self.transform = transform

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of every class."""
        return self.pictures.labels

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int | torch.Tensor]:
        """Return one picture, float32 [3, S, S], and its class.

        Of pictures with any number of labels it is float32 [C], 1 for each label that is right.

        Raises:
            InputError: The picture cannot be read; the message names it.
        """
        image = self.transform(self.pictures.load(index))
        if isinstance(self.pictures, MultiLabelPictures):
            present = multi_hot([self.pictures.present(index)], len(self.labels))
            return image, torch.from_numpy(present[0])
        return image, self.pictures.target(index)
