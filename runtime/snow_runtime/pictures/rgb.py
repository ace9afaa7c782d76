"""Any picture as RGB of eight bits a channel, upright, on white: how the whole toolchain sees it.

- What is transparent shows white behind it, as a browser or a printer shows it: dark ink on a
  transparent ground is dark on white. Whether the transparency is an alpha channel, an entry of a
  palette or one colour that stands for it, makes no difference.
- More than eight bits are scaled by the range that the file states: 65535 as a rule, 4095 for a
  TIFF of twelve bits, and what a PGM or PPM names. Never by a picture's own values, which differ
  from one picture to the next. A picture that fills a quarter of its range or less gives a remark.
- The EXIF orientation is applied.

Axes: H, W height and width of the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from snow_runtime.errors import InputError
from snow_runtime.pictures.remarks import Remark

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# Single-channel modes of 16 bits. Pillow also opens 16-bit PGM files as 32-bit "I".
_DEEP_MODES: Final = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
_SIXTEEN_BITS_AS_I: Final = frozenset({"PNG", "PPM", None})
"""Formats whose "I" is of 16 bits; None is an image made in memory."""
_WITH_ALPHA: Final = frozenset({"LA", "La", "P", "PA", "RGBA", "RGBa"})
_DIM: Final = 1 << 14
"""Sixteen bits whose values are all below this come out nearly black: those of a 14-bit sensor."""


class _Stored(NamedTuple):
    """What a file says of its samples before it is decoded; Pillow does not keep it.

    Attributes:
        halved: They are of 16 bits, of which Pillow keeps the upper eight.
        full: The greatest value that a deep sample can have.
        step: What Pillow multiplies grey samples of fewer than eight bits by.
    """

    halved: bool
    full: int
    step: int


def upright_rgb(image: Image.Image) -> tuple[Image.Image, Remark | None]:
    """Convert to RGB; gives the very same image if there is nothing to do.

    Returns:
        An RGB image of 8 bits a channel, and what is odd about it.

    Raises:
        InputError: There are no pixels, or their range is not known.
    """
    _check_mode(image)
    stored = _stored(image)
    image.load()  # Pillow turns TIFFs by itself then, and drops their orientation
    orientation = _orientation(image)
    rgb, remark = _deep(image, stored) if image.mode in _DEEP_MODES else _flat(image, stored)
    if orientation is not None:
        rgb = rgb.transpose(orientation)
    if rgb is not image:
        rgb.info = {}  # still holds the orientation and the colour of what was transparent
    return rgb, remark


def _check_mode(image: Image.Image) -> None:
    if min(image.size) == 0:
        msg = f"The image has {image.width} x {image.height} pixels, expected some."
        raise InputError(msg)
    if image.mode == "F":
        msg = (
            "The image is of 32-bit floating point, expected 8 or 16 bits a channel, since its "
            "range is not known. Scale it to 0 to 255 and save it as 8 bits."
        )
        raise InputError(msg)
    if image.mode == "I" and image.format not in _SIXTEEN_BITS_AS_I:
        msg = (
            "The image is of 32-bit integers, expected 8 or 16 bits a channel, since its range is "
            "not known. Scale it to 0 to 255 and save it as 8 bits."
        )
        raise InputError(msg)


def _stored(image: Image.Image) -> _Stored:
    names: list[str] = []
    for tile in getattr(image, "tile", None) or ():
        arguments = tile[3]
        first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        names.append(first if isinstance(first, str) else "")
    return _Stored(
        halved=image.mode not in _DEEP_MODES and any(";16" in name for name in names),
        full=4095 if "I;12" in names else 65535,
        step=17 if "L;4" in names else 85 if "L;2" in names else 1,
    )


def _deep(image: Image.Image, stored: _Stored) -> tuple[Image.Image, Remark | None]:
    """Scale one channel of more than eight bits, and lay it on white."""
    from PIL import Image

    values = np.asarray(image).astype(np.int32).clip(0, stored.full)  # [H, W]
    largest = int(values.max())
    grey = ((2 * 255 * values + stored.full) // (2 * stored.full)).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey).convert("RGB"), _range_remark(largest, stored)


def _flat(image: Image.Image, stored: _Stored) -> tuple[Image.Image, Remark | None]:
    """Convert what has eight bits a channel or fewer, and lay it on white."""
    remark = None
    if stored.halved and image.mode != "CMYK":  # whose zero is white
        colours = len(image.getbands()) - (image.mode in _WITH_ALPHA)
        extremes: Any = image.getextrema()
        ranges = extremes if isinstance(extremes[0], tuple) else (extremes,)
        remark = _range_remark(max(most for _, most in ranges[:colours]) * 256 + 255, stored)
    if image.mode in _WITH_ALPHA:
        # Of a palette only this conversion knows what is transparent.
        whole = image.convert("LA" if image.mode == "La" else "RGBA")
        if whole.mode == "LA":
            whole = whole.convert("RGBA")
        rgb, seen = _on_white(whole)
        return rgb, remark or seen
    key = image.info.get("transparency")
    if key is None or image.mode not in {"1", "L", "RGB"}:
        return image if image.mode == "RGB" else image.convert("RGB"), remark
    return _without_key(image, key, stored), remark


def _on_white(image: Image.Image) -> tuple[Image.Image, Remark | None]:
    """Lay an RGBA image on white."""
    from PIL import Image

    alpha = image.getchannel("A")
    least, most = alpha.getextrema()
    colours = image.convert("RGB")
    if least == 255:
        return colours, None
    ground = Image.new("RGB", image.size, (255, 255, 255))
    ground.paste(colours, mask=alpha)
    text = (
        "It is transparent everywhere, so that nothing of it is seen; expected some that is not. "
        "Save it without its transparency, if that is a mistake."
    )
    return ground, Remark("transparent", text) if most == 0 else None


def _without_key(image: Image.Image, key: object, stored: _Stored) -> Image.Image:
    """Make the pixels of one colour white: the one that a PNG names as transparent.

    Of 16 bits a channel Pillow keeps the upper eight, so that the colours beside it count too.
    """
    from PIL import Image

    pixels = np.array(image.convert("RGB"))  # [H, W, 3]
    wanted = key if isinstance(key, tuple) else (key,) * 3
    numbers = [part * stored.step for part in wanted if isinstance(part, int)]
    if image.mode == "1":
        numbers = [255 * bool(part) for part in numbers]
    if stored.halved:
        numbers = [part >> 8 for part in numbers]
    if len(numbers) == 3:
        alike: NDArray[np.bool_] = (pixels == np.array(numbers)).all(axis=2)
        pixels[alike] = 255
    return Image.fromarray(pixels)


def _range_remark(largest: int, stored: _Stored) -> Remark | None:
    """Say that a picture uses little of its range; all zero is black and nothing else."""
    if largest == 0 or largest * 65535 >= _DIM * stored.full:
        return None
    text = (
        f"It has 16 bits a channel and no value above {largest}, where {stored.full} is white, so "
        "that it comes out nearly black. If its sensor has fewer bits, scale its pictures to the "
        "whole range (of 12 bits: times 65535 / 4095) or save them as 8 bits, those to train on "
        "and those to ask about alike."
    )
    return Remark("range", text)


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """Say how to turn the image as its EXIF orientation has it.

    Like PIL.ImageOps.exif_transpose, which however copies every image, and fails on photos whose
    EXIF block is damaged: the pixels are good all the same, and viewers show them.
    """
    from PIL import ExifTags, Image

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - Pillow's EXIF reader raises whatever the bytes lead it into
        return None
    turn = Image.Transpose
    methods: dict[object, Image.Transpose] = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return methods.get(orientation)
