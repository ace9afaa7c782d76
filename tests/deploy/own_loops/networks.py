"""A small network of somebody's own, and drawn pictures of colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 32
CLASSES = ("blue", "green", "red")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Own(nn.Module):
    """A stem, two blocks with a shortcut, a classifier; torchvision has none like it."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU()
        )
        self.first = nn.Conv2d(16, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, 2, 1)
        self.third = nn.Conv2d(32, 32, 3, padding=1)
        self.fc = nn.Linear(32, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps = maps + nn.functional.relu(self.first(maps))
        maps = nn.functional.relu(self.second(maps))
        maps = maps + nn.functional.relu(self.third(maps))
        answers: Tensor = self.fc(maps.mean((2, 3)))
        return answers


def own_network(seed: int = 0) -> Own:
    """Draw its weights, and statistics that are not those of a fresh norm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Own()
        norm = network.stem[1]
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        norm.running_mean.normal_(0, 0.1)
    return network


def draw_photos(folder: Path, each: int = 8, seed: int = 0) -> Path:
    """Write pictures of one colour with noise, in a folder for each class; return the folder."""
    rng = np.random.default_rng(seed)
    for place, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 90, (40, 40, 3))
            pixels[..., 2 - place] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder
