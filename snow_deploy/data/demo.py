"""Rendered pictures that need no download, each with several independent answers.

A picture shows a textured, coloured shape and a digit. It is made from (seed, split, index)
alone, so that the tasks look at the same pictures, as they would through one camera, and each asks
for its own answer. `scene` asks coarsely, and not about colour (a spiky, lined shape with a digit
that has a loop): a source that is trained on it has features that help with the tasks and don't
settle them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_deploy.data.demo_picture import COLOURS, DIGITS, SHAPES, TEXTURES, DemoAnswers, render
from snow_deploy.data.pictures import Splits
from snow_deploy.data.seeding import Draws, keyed_bits
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image

_SHAPE_FAMILIES = ("round", "angular", "spiky")  # two shapes each, in the order of SHAPES
_TEXTURE_FAMILIES = ("lined", "spotted")  # three textures each, in the order of TEXTURES
_DIGIT_FAMILIES = ("looped", "open")
_LOOPED = frozenset("04689")

# Each option with its default, its least and its greatest value.
_OPTIONS: dict[str, tuple[int, int, int]] = {
    "train": (4000, 2, 10_000_000),
    "test": (1000, 1, 10_000_000),
    "size": (64, 32, 1024),
    "seed": (0, 0, 2**63 - 1),
}


@dataclass(frozen=True)
class _Question:
    """One question about a picture: its possible answers, and which one is right."""

    labels: tuple[str, ...]
    answer: Callable[[DemoAnswers], int]


def _scene(answers: DemoAnswers) -> int:
    shape = answers.shape * len(_SHAPE_FAMILIES) // len(SHAPES)
    texture = answers.texture * len(_TEXTURE_FAMILIES) // len(TEXTURES)
    digit = int(DIGITS[answers.digit] not in _LOOPED)
    return (shape * len(_TEXTURE_FAMILIES) + texture) * len(_DIGIT_FAMILIES) + digit


_QUESTIONS: dict[str, _Question] = {
    "shape": _Question(SHAPES, lambda answers: answers.shape),
    "texture": _Question(TEXTURES, lambda answers: answers.texture),
    "digit": _Question(DIGITS, lambda answers: answers.digit),
    "colour": _Question(COLOURS, lambda answers: answers.colour),
    "pattern": _Question(
        _TEXTURE_FAMILIES,
        lambda answers: answers.texture * len(_TEXTURE_FAMILIES) // len(TEXTURES),
    ),
    "scene": _Question(
        tuple(
            map(" ".join, itertools.product(_SHAPE_FAMILIES, _TEXTURE_FAMILIES, _DIGIT_FAMILIES))
        ),
        _scene,
    ),
}


@dataclass(frozen=True)
class DemoPictures:
    """One split of the rendered pictures, under one question.

    Attributes:
        question: "shape", "texture", "digit", "colour", "pattern" or "scene".
        split: "train" or "test"; the two share no picture.
        count: How many pictures.
        size: Their width and height in pixels.
        seed: Seed of the pictures: another one gives others.
    """

    question: str
    split: str
    count: int
    size: int
    seed: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The answers to choose from."""
        return _QUESTIONS[self.question].labels

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return self.count

    def target(self, index: int) -> int:
        """Return the right answer for one picture, in [0, len(labels))."""
        return _QUESTIONS[self.question].answer(DemoAnswers.draw(self._draws(index)))

    def name(self, index: int) -> str:
        """Return what decides how one picture looks: split, seed and size, and its number."""
        return f"demo-{self.split}-seed{self.seed}-{self.size}px/{index}"

    def load(self, index: int) -> Image.Image:
        """Return one picture, RGB, `size` by `size`."""
        draws = self._draws(index)
        return render(DemoAnswers.draw(draws), draws, self.size)

    def _draws(self, index: int) -> Draws:
        if not 0 <= index < self.count:
            msg = f"picture {index} of {self.count}"
            raise IndexError(msg)
        return Draws(keyed_bits(f"demo {self.split}", self.seed, index))


def read_demo(question: str, options: Mapping[str, str] | None = None) -> Splits:
    """Return the rendered pictures with the answers to `question`.

    Args:
        question: "shape", "texture", "digit", "colour", "pattern" or "scene".
        options: `train` and `test`, the numbers of pictures; `size` in pixels; `seed`. The seed
            of a training run doesn't change the pictures.

    Raises:
        DataError: The question or an option is unknown, or an option's value can't be used.
    """
    if question not in _QUESTIONS:
        known = ", ".join(f"demo:{name}" for name in _QUESTIONS)
        msg = f'There is no demo data "{question}", expected one of {known}. Name one.'
        raise DataError(msg)
    given = dict(options or {})
    unknown = sorted(set(given) - set(_OPTIONS))
    if unknown:
        msg = (
            f"Demo data has no option {', '.join(unknown)}, expected some of "
            f"{', '.join(_OPTIONS)}. Remove the others."
        )
        raise DataError(msg)
    values = {name: _number(name, given.get(name)) for name in _OPTIONS}
    train, test = (
        DemoPictures(question, split, values[split], values["size"], values["seed"])
        for split in ("train", "test")
    )
    return Splits(train=train, val=None, test=test, augmentation="none")


def _number(name: str, text: str | None) -> int:
    default, least, greatest = _OPTIONS[name]
    if text is None:
        return default
    if text.isascii() and text.isdigit() and least <= int(text) <= greatest:
        return int(text)
    msg = (
        f'The option {name} of demo data is "{text}", expected a whole number from {least} to '
        f"{greatest}. Change it."
    )
    raise DataError(msg)
