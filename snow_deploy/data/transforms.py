"""From a picture to the tensor that a network reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torchvision.transforms import v2

from snow_runtime.graph.image_size import height_width
from snow_runtime.pictures.preprocessing import normalise, prepare

if TYPE_CHECKING:
    from PIL import Image

    from snow_deploy.data.pictures import Augmentation
    from snow_runtime.graph.manifest import Preprocessing

SMALLEST_CROP = 0.25
"""Of a picture's area, where nothing else is asked for."""


class Transform(Protocol):
    """From an RGB picture to a float32 tensor `[3, S, S]`; may draw from torch's generator."""

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        """Return the picture as a tensor."""


class EvaluationTransform:
    """The preprocessing that the device does, by the same code."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        """Take the sizes and the normalisation."""
        self._preprocessing = preprocessing

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        """Return the picture resized, cropped at its centre and normalised.

        Returns:
            float32 `[3, S, S]` with S the image size.
        """
        return torch.from_numpy(prepare(picture, self._preprocessing))


class PhotoTransform:
    """A random crop of the picture, mirrored half of the time.

    Its aspect is three quarters to four thirds of what the network reads, as torchvision's is of a
    square.
    """

    def __init__(self, preprocessing: Preprocessing, smallest_crop: float = SMALLEST_CROP) -> None:
        """Take the size and the normalisation, and the smallest share of the area to crop to."""
        self._preprocessing = preprocessing
        height, width = height_width(preprocessing.image_size)
        self._augment = v2.Compose(
            [
                v2.RandomResizedCrop(
                    (height, width),
                    scale=(smallest_crop, 1.0),
                    ratio=(3 / 4 * width / height, 4 / 3 * width / height),
                    interpolation=v2.InterpolationMode[preprocessing.interpolation.upper()],
                    antialias=True,
                ),
                v2.RandomHorizontalFlip(),
            ]
        )

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        """Return the picture cropped, mirrored and normalised, by draws from torch's generator.

        Returns:
            float32 `[3, S, S]` with S the image size.
        """
        cropped = np.asarray(self._augment(picture))  # [S, S, 3] uint8
        return torch.from_numpy(normalise(cropped, self._preprocessing))


def make_transform(
    preprocessing: Preprocessing,
    *,
    train: bool,
    augmentation: Augmentation,
    smallest_crop: float = SMALLEST_CROP,
) -> Transform:
    """Return the transform for training or evaluation; augmentation is for training only."""
    if train and augmentation == "photo":
        return PhotoTransform(preprocessing, smallest_crop)
    return EvaluationTransform(preprocessing)
