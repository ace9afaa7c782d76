"""What the README tells its readers to type, and the small things to type it about."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
SIZE = 64
PATTERNS = ("stripes", "checks", "plain")
COLOURS = {"blue": (30, 60, 200), "green": (40, 180, 60), "red": (200, 40, 40)}
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command of the README, or a piece of Python.

    Attributes:
        words: What stands behind `snow-deploy`; none for Python.
        code: The Python; empty for a command.
    """

    words: tuple[str, ...] = ()
    code: str = ""

    @property
    def command(self) -> str:
        return self.words[0] if self.words else "python"


def steps() -> tuple[Step, ...]:
    """Return all that stands in the code blocks under "Use", in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (use,) = re.findall(r"^## Use\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    return tuple(_steps(use))


def _steps(text: str) -> Iterator[Step]:
    for block in _BLOCK.finditer(text):
        if block["language"] == "python":
            yield Step(code=block["text"])
        for line in block["text"].splitlines() if block["language"] == "sh" else ():
            program, *words = shlex.split(line, comments=True)
            assert program == "snow-deploy", line
            yield Step(tuple(words))


def picture(pattern: str, colour: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a pattern in a colour, at a random place and a little noisy."""
    y, x = np.mgrid[:SIZE, :SIZE] + rng.integers(0, 16, (2, 1, 1))
    dark = {"stripes": x % 16 < 8, "checks": (x // 8 + y // 8) % 2 == 0, "plain": x < 0}[pattern]
    drawn = np.where(dark[..., None], 25, np.array(COLOURS[colour]))
    return (drawn + rng.normal(0, 8, drawn.shape)).clip(0, 255).astype(np.uint8)


def draw_photos(folder: Path, each: int) -> None:
    """Draw what the README's paths name: photos/{textures,clothing}/CLASS/*, and photo.jpg.

    photo.jpg is a photo of red checks that is in neither folder.
    """
    from PIL import Image

    rng = np.random.default_rng(0)
    for pattern in PATTERNS:
        for colour in COLOURS:
            for number in range(each):
                for label, task in ((pattern, "textures"), (colour, "clothing")):
                    path = folder / "photos" / task / label / f"{pattern}-{colour}-{number}.jpg"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(picture(pattern, colour, rng)).save(path, quality=95)
    Image.fromarray(picture("checks", "red", rng)).save(folder / "photo.jpg", quality=95)


def save_source(path: Path) -> None:
    """Save a ResNet-18 of random weights as people have theirs."""
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet18(num_classes=10).state_dict(), path)
