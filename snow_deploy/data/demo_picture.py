"""One rendered picture: a textured, coloured shape and a digit in front of a shaded background.

Everything but the answers varies without regard to them: place, size, turn, the other colours,
the texture's period and phase, light and noise. Lengths are fractions of the picture's side S.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from snow_deploy.data.drawing import (
    Grid,
    arc,
    fill_coverage,
    polygon,
    polyline,
    star,
    stroke_coverage,
    unit,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_deploy.data.drawing import Array
    from snow_deploy.data.seeding import Draws

SHAPES = ("circle", "heart", "square", "triangle", "star", "cross")
TEXTURES = ("stripes", "zigzag", "checks", "dots", "rings", "blotches")
DIGITS = tuple("0123456789")
COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")

# Evaluation crops the middle 224/256 of a picture; what is asked for stays inside it.
_SHAPE_REACH, _DIGIT_REACH = 0.19, 0.2
_SWAY = 0.35
# Lumas: of the background; of a texture's one colour; of its other one and of the digit.
_DARK, _MIDDLE, _LIGHT = (0.05, 0.2), (0.28, 0.36), (0.85, 0.95)
_COLOURFULNESS = 0.4
_TINTS = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1))  # of COLOURS
_TINT_SPREAD = 0.3  # how far each part of a shape's tint may be from its name's
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
_LATTICE = 16  # random values along each side of the blotches' lattice

_TWO_PI = 2 * math.pi
_ARM = 0.36  # half the width of the cross's arms

# Around (0, 0), about 1 in radius, in the order of SHAPES.
_OUTLINES: tuple[Array, ...] = (
    0.92 * polygon(24),
    np.concatenate(
        [
            polyline((0.0, 0.95)),
            arc((-0.45, -0.3), (0.47, 0.5), 165, 325, segments=8),
            arc((0.45, -0.3), (0.47, 0.5), 215, 375, segments=8),
            polyline((0.0, 0.95)),
        ]
    ),
    0.98 * polygon(4),
    1.08 * polygon(3),
    1.08 * star(5, 0.45),
    polyline(
        *((-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)),
        *((_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM)),
        (-_ARM, -1),
    ),
)

_SIX = (arc((0.5, 0.7), (0.29, 0.3)), arc((0.7, 0.7), (0.49, 0.7), 265, 180, segments=6))

# In a unit square, in the order of DIGITS.
_STROKES: tuple[tuple[Array, ...], ...] = (
    (arc((0.5, 0.5), (0.3, 0.5), segments=16),),
    (polyline((0.28, 0.24), (0.56, 0.0), (0.56, 1.0)),),
    (
        arc((0.5, 0.28), (0.3, 0.28), 190, 395, segments=9),
        polyline((0.746, 0.44), (0.2, 1.0), (0.82, 1.0)),
    ),
    (
        arc((0.46, 0.25), (0.29, 0.25), 200, 450, segments=9),
        arc((0.46, 0.75), (0.34, 0.25), 270, 520, segments=9),
    ),
    (polyline((0.66, 1.0), (0.66, 0.0), (0.14, 0.7), (0.88, 0.7)),),
    (
        polyline((0.78, 0.0), (0.28, 0.0), (0.244, 0.437)),
        arc((0.47, 0.67), (0.32, 0.33), 225, 510, segments=10),
    ),
    _SIX,
    (polyline((0.18, 0.0), (0.82, 0.0), (0.4, 1.0)),),
    (arc((0.5, 0.25), (0.25, 0.25)), arc((0.5, 0.75), (0.31, 0.25))),
    tuple(1.0 - stroke for stroke in _SIX),
)


class DemoAnswers(NamedTuple):
    """What a picture shows, as indices into SHAPES, TEXTURES, DIGITS and COLOURS."""

    shape: int
    texture: int
    digit: int
    colour: int

    @classmethod
    def draw(cls, draws: Draws) -> DemoAnswers:
        """Draw the four answers, each alone and every one as likely as the others."""
        return cls(*(draws.below(len(names)) for names in (SHAPES, TEXTURES, DIGITS, COLOURS)))


@dataclass(frozen=True)
class _Place:
    """The part of a canvas around one thing on it.

    Attributes:
        part: A view of the canvas, `[3, H, W]`.
        grid: Where its pixels are for the thing: from its middle, turned with it.
    """

    part: Array
    grid: Grid

    @classmethod
    def around(
        cls, canvas: Array, middle: tuple[float, float], reach: float, turn: float
    ) -> _Place:
        """Take `reach` pixels on all sides of `middle` (x, y), both in pixels of the canvas."""
        size = canvas.shape[1]
        (left, right), (top, bottom) = (
            (max(0, int(place - reach)), min(size, int(place + reach) + 2)) for place in middle
        )
        x = np.arange(left, right) + (0.5 - middle[0])
        y = np.arange(top, bottom)[:, None] + (0.5 - middle[1])
        return cls(canvas[:, top:bottom, left:right], _turned(Grid(x, y), turn))

    def blend(self, ink: Array, coverage: Array) -> None:
        """Lay ink `[3, H, W]` or `[3, 1, 1]` over the canvas by its coverage `[H, W]`."""
        change = ink - self.part
        change *= coverage
        self.part[...] += change


def render(answers: DemoAnswers, draws: Draws, size: int) -> Image.Image:
    """Return the picture of these answers, RGB, `size` by `size`; `draws` decides the rest."""
    canvas = _background(draws, size)
    radius, height = draws.between(0.2, 0.225), draws.between(0.35, 0.4)
    angle = draws.between(-_SWAY, _SWAY)  # of the line from the shape, left, to the digit
    shape_offset = -draws.between(0.85, 1) * _SHAPE_REACH
    digit_offset = draws.between(0.85, 1) * _DIGIT_REACH
    shape_at, digit_at = (
        _from_middle(size, angle, offset) for offset in (shape_offset, digit_offset)
    )
    shape_turn, digit_turn = draws.between(-0.3, 0.3), draws.between(-0.15, 0.15)
    radius, height = size * radius, size * height
    place = _Place.around(canvas, shape_at, 1.1 * radius, shape_turn)
    _paint_shape(place, answers, draws, radius)
    place = _Place.around(canvas, digit_at, 0.72 * height, digit_turn)
    _paint_digit(place, answers, draws, height)
    return Image.fromarray(_expose(canvas, draws))


def _from_middle(size: int, angle: float, offset: float) -> tuple[float, float]:
    """Return the point (x, y) that lies at `angle` on a square of half side `offset`, in pixels."""
    x, y = math.cos(angle), math.sin(angle)
    reach = offset / max(abs(x), abs(y))
    return size * (0.5 + reach * x), size * (0.5 + reach * y)


def _turned(grid: Grid, angle: float) -> Grid:
    cos, sin = math.cos(angle), math.sin(angle)
    return Grid(cos * grid.x + sin * grid.y, cos * grid.y - sin * grid.x)


def _colour(draws: Draws, luma: tuple[float, float], name: int | None = None) -> Array:
    """Draw a colour, `[3, 1, 1]` in [0, 1], of about the luma asked for; any, or one of COLOURS."""
    tint = [draws.between(0, 1) for _ in range(3)]
    if name is not None:
        tint = [
            abs(pure - _TINT_SPREAD * part) for pure, part in zip(_TINTS[name], tint, strict=True)
        ]
    grey = sum(weight * part for weight, part in zip(_LUMA, tint, strict=True))
    level = draws.between(*luma)
    colour = [level + _COLOURFULNESS * (part - grey) for part in tint]
    return np.array([min(max(part, 0.0), 1.0) for part in colour])[:, None, None]


def _background(draws: Draws, size: int) -> Array:
    """Draw a slope from one dark colour to another, `[3, S, S]` in [0, 1]."""
    here, there = _colour(draws, _DARK), _colour(draws, _DARK)
    angle = draws.between(0, _TWO_PI)
    steps = (np.arange(size) + 0.5) / size - 0.5
    slope = 0.5 + 0.7 * (math.cos(angle) * steps + math.sin(angle) * steps[:, None])
    return here + slope * (there - here)


def _paint_shape(place: _Place, answers: DemoAnswers, draws: Draws, radius: float) -> None:
    coverage = fill_coverage(place.grid, radius * _OUTLINES[answers.shape])
    here, there = (_colour(draws, luma, answers.colour) for luma in (_MIDDLE, _LIGHT))
    if draws.below(2):
        here, there = there, here
    share = _texture(TEXTURES[answers.texture], place.grid, draws, radius)
    place.blend(here + share * (there - here), coverage)


def _texture(name: str, grid: Grid, draws: Draws, radius: float) -> Array:
    """Draw one of TEXTURES: `[H, W]`, 0 for one colour and 1 for the other."""
    period = radius * draws.between(0.6, 0.75)
    x, y = _turned(grid, draws.between(-0.3, 0.3))
    x, y = x / period + draws.between(0, 1), y / period + draws.between(0, 1)
    wave: Array
    if name == "stripes":
        wave = np.sin(_TWO_PI * x)
    elif name == "zigzag":
        wave = np.sin(_TWO_PI * (x + 1.2 * np.abs(0.6 * y - np.floor(0.6 * y) - 0.5)))
    elif name == "checks":
        wave = 1.6 * np.sin(math.pi * x) * np.sin(math.pi * y)
    elif name == "dots":
        wave = np.cos(_TWO_PI * x) + np.cos(_TWO_PI * y) - 0.6
    elif name == "rings":
        reach = 0.25 * radius
        off_x, off_y = draws.between(-reach, reach), draws.between(-reach, reach)
        distance = np.sqrt((grid.x - off_x) ** 2 + (grid.y - off_y) ** 2)
        wave = np.sin(_TWO_PI * (distance / period + draws.between(0, 1)))
    else:
        wave = 4.0 * _blotches(2.0 * x, 2.0 * y, draws) - 2.0
    return unit(0.5 + 1.5 * wave)


def _blotches(x: Array, y: Array, draws: Draws) -> Array:
    """Draw a random lattice, smoothly interpolated at (x, y): `[H, W]` in [0, 1]."""
    lattice = draws.bytes(_LATTICE * _LATTICE) / 255.0
    left, top = np.floor(x), np.floor(y)
    right_share, low_share = ((3 - 2 * t) * t * t for t in (x - left, y - top))
    column, row = left.astype(np.int64), top.astype(np.int64)
    columns = (column % _LATTICE, (column + 1) % _LATTICE)
    rows = (row % _LATTICE * _LATTICE, (row + 1) % _LATTICE * _LATTICE)
    corners = [[lattice[r + c] for c in columns] for r in rows]
    upper, lower = (here + right_share * (there - here) for here, there in corners)
    mixed: Array = upper + low_share * (lower - upper)
    return mixed


def _paint_digit(place: _Place, answers: DemoAnswers, draws: Draws, height: float) -> None:
    width = height * draws.between(0.13, 0.19)
    scale = 0.88 * np.array([height * draws.between(0.75, 0.95), height])
    strokes = [(stroke - 0.5) * scale for stroke in _STROKES[answers.digit]]
    place.blend(_colour(draws, _LIGHT), stroke_coverage(place.grid, strokes, width))


def _expose(canvas: Array, draws: Draws) -> NDArray[np.uint8]:
    """Change contrast and light, add noise, and round to uint8 `[S, S, 3]`."""
    contrast, light = draws.between(0.7, 1), draws.between(-0.12, 0.12)
    amplitude = draws.between(0.02, 0.08)
    noise = draws.bytes(2 * canvas.size).reshape(2, *canvas.shape)
    # The sum of two even noises is a triangle, close enough to a bell.
    exposed = np.add(noise[0], noise[1], dtype=np.uint16) * (amplitude / 255.0)
    exposed += 0.5 + light - amplitude - contrast * 0.5
    canvas *= contrast
    exposed += canvas
    unit(exposed)
    exposed *= 255.0
    exposed += 0.5
    return np.ascontiguousarray(exposed.astype(np.uint8).transpose(1, 2, 0))
