"""Pictures whose channels are bright or dark, with a label for each channel that is bright."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from snow_deploy.data import open_data

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Splits

LABELS = ("red", "green", "blue")


def bright_pictures(
    folder: Path, *, train: int = 48, test: int = 12, noise: float = 0.0, side: int = 32
) -> str:
    """Draw them, and return their specification.

    Args:
        folder: Folder for the pictures; made where it is not there.
        train: Number of training pictures.
        test: Number of others.
        noise: Share of the training pictures' labels that are drawn, whatever the picture shows.
        side: Height and width in pixels.
    """
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"file,split,{','.join(LABELS)},kind"]
    for number in range(train + test):
        bright = rng.integers(0, 2, 3)
        pixels = rng.integers(0, 60, (side, side, 3)) + 180 * bright
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        told = np.where(rng.random(3) < noise, rng.integers(0, 2, 3), bright)
        kind = "warm" if told[0] else "cold"
        split = "train" if number < train else "test"
        lines.append(f"{number}.png,{split},{','.join(map(str, told))},{kind}")
    (folder / "pictures.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"csv:{folder / 'pictures.csv'}?labels={','.join(LABELS)}"


def open_bright(folder: Path) -> Splits:
    """Draw them and open the task of several labels at once."""
    return open_data(bright_pictures(folder))
