"""The small things that the documents' commands are typed about: drawn photos, a random source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 64
PATTERNS = ("stripes", "checks", "plain")
COLOURS = {"blue": (30, 60, 200), "green": (40, 180, 60), "red": (200, 40, 40)}


def picture(pattern: str, colour: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a pattern in a colour, at a random place and a little noisy."""
    y, x = np.mgrid[:SIZE, :SIZE] + rng.integers(0, 16, (2, 1, 1))
    dark = {"stripes": x % 16 < 8, "checks": (x // 8 + y // 8) % 2 == 0, "plain": x < 0}[pattern]
    drawn = np.where(dark[..., None], 25, np.array(COLOURS[colour]))
    return (drawn + rng.normal(0, 8, drawn.shape)).clip(0, 255).astype(np.uint8)


def draw_photos(folder: Path, each: int) -> None:
    """Draw what the documents' paths name: photos/{textures,clothing}/CLASS/*, and the rest.

    photo.jpg is a photo of red checks that is in neither folder; frames/ are a camera's pictures,
    without labels; photos.csv asks two questions about the photos of photos/textures, and marks.csv
    says of each whether it is striped, red and blue.
    """
    from PIL import Image

    rng = np.random.default_rng(0)
    rows, marks = ["file,pattern,colour"], ["file,striped,red,blue"]
    for pattern in PATTERNS:
        for colour in COLOURS:
            for number in range(each):
                for label, task in ((pattern, "textures"), (colour, "clothing")):
                    path = folder / "photos" / task / label / f"{pattern}-{colour}-{number}.jpg"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(picture(pattern, colour, rng)).save(path, quality=95)
                rows.append(f"photos/textures/{pattern}/{path.name},{pattern},{colour}")
                present = (pattern == "stripes", colour == "red", colour == "blue")
                said = ",".join(str(int(each)) for each in present)
                marks.append(f"photos/textures/{pattern}/{path.name},{said}")
    for name, lines in (("photos.csv", rows), ("marks.csv", marks)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    Image.fromarray(picture("checks", "red", rng)).save(folder / "photo.jpg", quality=95)
    (folder / "frames").mkdir()
    for number in range(20):
        drawn = picture(PATTERNS[number % 3], "red", rng)
        Image.fromarray(drawn).save(folder / "frames" / f"{number:03}.jpg", quality=95)


def save_source(path: Path) -> None:
    """Save a ResNet-18 of random weights as people have theirs."""
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet18(num_classes=10).state_dict(), path)
