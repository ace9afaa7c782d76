from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from snow_deploy.data.transforms import EvaluationTransform, PhotoTransform, make_transform
from snow_runtime.pictures.preprocessing import prepare

if TYPE_CHECKING:
    from snow_runtime.graph.manifest import Preprocessing


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_evaluation_is_what_the_device_does(
    picture: Image.Image, preprocessing: Preprocessing
) -> None:
    tensor = EvaluationTransform(preprocessing)(picture)
    assert (tensor.dtype, tensor.shape) == (torch.float32, (3, 16, 16))
    np.testing.assert_array_equal(tensor.numpy(), prepare(picture, preprocessing))


def test_evaluation_agrees_with_torchvision(
    picture: Image.Image, preprocessing: Preprocessing
) -> None:
    reference = v2.Compose(
        [
            v2.Resize(preprocessing.resize_size, antialias=True),
            v2.CenterCrop(preprocessing.image_size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )
    level = 1.001 / 255 / min(preprocessing.std)  # one grey level, which rounding may decide
    seen = EvaluationTransform(preprocessing)(picture)
    torch.testing.assert_close(seen, reference(picture), atol=level, rtol=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("smallest", [0.25, 0.7])
def test_training_agrees_with_torchvision(
    picture: Image.Image, preprocessing: Preprocessing, seed: int, smallest: float
) -> None:
    reference = v2.Compose(
        [
            v2.RandomResizedCrop(preprocessing.image_size, scale=(smallest, 1), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        expected = reference(picture)
        torch.default_generator.manual_seed(seed)
        tensor = PhotoTransform(preprocessing, smallest)(picture)
    assert (tensor.dtype, tensor.shape) == (torch.float32, (3, 16, 16))
    torch.testing.assert_close(tensor, expected)


@pytest.mark.parametrize("size", [(16, 40), (40, 16)])
def test_training_crops_have_the_aspect_of_the_input(
    preprocessing: Preprocessing, size: tuple[int, int]
) -> None:
    """The crop is three quarters to four thirds of the input's aspect, as of a square."""
    rows, columns = np.mgrid[0:300, 0:300]
    picture = Image.fromarray((np.stack([rows, columns, rows], 2) * 0.85).astype(np.uint8))
    plain = replace(preprocessing, image_size=size, resize_size=size, mean=(0,) * 3, std=(1,) * 3)
    augment = PhotoTransform(plain, 0.05)
    aspects = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        for _ in range(30):
            seen = augment(picture)
            assert seen.shape == (3, *size)
            steps = [float(seen[axis].amax() - seen[axis].amin()) for axis in (0, 1)]
            high, wide = (step * side / (side - 1) for step, side in zip(steps, size, strict=True))
            aspects.append(wide / high)
    of_input = size[1] / size[0]
    assert 0.7 * of_input < min(aspects) < 0.95 * of_input
    assert 1.05 * of_input < max(aspects) < 1.45 * of_input


def test_augmentation_is_for_training_only(preprocessing: Preprocessing) -> None:
    kinds = {
        (train, augmentation): type(
            make_transform(preprocessing, train=train, augmentation=augmentation)
        )
        for train in (True, False)
        for augmentation in ("photo", "none")
    }
    assert kinds.pop((True, "photo")) is PhotoTransform
    assert set(kinds.values()) == {EvaluationTransform}
