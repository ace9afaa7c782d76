"""From a picture to the tensor that the network reads: the one implementation of it.

Training, evaluation, export and the device all call these functions, so that none of them sees a
picture differently from the others. The steps, as torchvision does them on a PIL image:

1. RGB of 8 bits, upright, on white where it is transparent (:mod:`snow_runtime.pictures.rgb`).
2. The short side resized to ``resize_size``, antialiased; bilinear, or as the manifest says.
3. The central square of ``image_size`` pixels a side; 2 and 3 are one step, so that only what the
   square shows is computed: twice as fast on a camera's frame, and within one grey level.
4. Divided by 255, then the mean subtracted and divided by the standard deviation, per channel.

Axes: H, W height and width of the picture; S the image size.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from snow_runtime.errors import InputError
from snow_runtime.pictures.arrays import to_numpy
from snow_runtime.pictures.remarks import INFO_KEY, tell_once
from snow_runtime.pictures.rgb import upright_rgb

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from PIL import Image

    from snow_runtime.graph.manifest import InputEntry, Preprocessing

Colour = Literal["rgb", "bgr"]
"""Order of a picture's channels; cameras and OpenCV give `bgr`."""
Picture: TypeAlias = "Image.Image | NDArray[np.uint8]"
"""A PIL image, or an array uint8 `[H, W, 3]`."""

# A picture longer than this many times its short side is first cut to its middle: nothing outside
# is seen anyway, and a 1 x 60000 strip would otherwise be enlarged to gigabytes.
_LONGEST_ASPECT = 32


def load_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read a photo: any format that Pillow knows, grey, palette, CMYK, with alpha or 16 bits deep.

    A photo that is odd, but can be used, is named in the log, once for each kind.

    Returns:
        An upright RGB image of 8 bits a channel, `[H, W, 3]`, on white where the photo is
        transparent; of an animation the first frame.

    Raises:
        InputError: The file is missing, unreadable, truncated or no picture; the message names it.
    """
    path = Path(path)
    return _read_image(path, repr(str(path)))


def decode_image(data: bytes, name: str | None = None) -> Image.Image:
    """Read a photo from the bytes of its file; otherwise like :func:`load_image`.

    Args:
        data: The bytes of a whole JPEG, PNG or other file that Pillow knows.
        name: What to call it in a message; None for its size.

    Raises:
        InputError: The bytes are truncated or no picture; the message has the name.
    """
    shown = f"of {len(data)} bytes" if name is None else repr(name)
    return _read_image(io.BytesIO(data), shown)


def _read_image(source: Path | io.BytesIO, name: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source) as image:
            converted, remark = upright_rgb(image)
            if converted is image:
                converted = image.copy()  # detached from the file
    except InputError as error:
        msg = f"Cannot use the photo {name}: {error}"
        raise InputError(msg) from error
    except UnidentifiedImageError as error:
        msg = (
            f"Cannot read the photo {name}: its content is none of the formats known here, "
            "expected a picture such as JPEG, PNG or WebP. Convert it, or leave it out."
        )
        raise InputError(msg) from error
    # Pillow's decoders raise whatever a damaged file leads them into: OSError, SyntaxError,
    # struct.error, ValueError, DecompressionBombError, ...
    except Exception as error:
        msg = (
            f"Cannot read the photo {name}: {_reason(error)}; expected a complete picture. "
            "Check the path and the file, or leave it out."
        )
        raise InputError(msg) from error
    if remark is not None:
        remark = remark._replace(text=f"About the photo {name}: {remark.text}")
        converted.info[INFO_KEY] = remark
        tell_once(remark)
    return converted


def prepare(
    image: Picture, preprocessing: Preprocessing, colour: Colour = "rgb"
) -> NDArray[np.float32]:
    """Turn one picture into what the network reads.

    Args:
        image: A PIL image of any mode, or a uint8 array `[H, W, 3]` with values 0 to 255.
        preprocessing: The sizes and the normalisation, from the graph's manifest.
        colour: Order of an array's channels; OpenCV's frames are ``"bgr"``. A PIL image knows
            its own.

    Returns:
        float32 `[3, S, S]`, C-contiguous, red first.

    Raises:
        InputError: The picture has another type, shape or dtype.
    """
    return normalise(_cropped(image, preprocessing, colour), preprocessing)


def prepare_for(
    entry: InputEntry, image: Picture, preprocessing: Preprocessing, colour: Colour = "rgb"
) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Turn one picture into what a graph's input takes.

    Args:
        entry: The graph's input: normalised planes, or frames that it normalises itself.
        image: Picture, as for :func:`prepare`.
        preprocessing: Preprocessing, as for :func:`prepare`.
        colour: Order of an array's channels.

    Returns:
        The same as :func:`prepare`, or uint8 `[S, S, 3]` in the entry's order of channels.

    Raises:
        InputError: The picture has another type, shape or dtype.
    """
    if entry.dtype != "uint8":
        return prepare(image, preprocessing, colour)
    return as_frame(_cropped(image, preprocessing, colour), entry)


def as_frame(pixels: NDArray[np.uint8], entry: InputEntry) -> NDArray[np.uint8]:
    """Give uint8 `[..., S, S, 3]`, red first, in the order of channels of a graph's input."""
    return np.ascontiguousarray(pixels if entry.colour == "rgb" else pixels[..., ::-1])


def as_rgb(image: Picture, colour: Colour = "rgb") -> Image.Image:
    """Give the picture as an upright RGB image of 8 bits a channel.

    Args:
        image: A PIL image of any mode, or a uint8 array `[H, W, 3]`.
        colour: Order of an array's channels.

    Raises:
        InputError: The picture has another type, shape or dtype, or no pixels.
    """
    from PIL import Image

    _check_colour(colour)
    if isinstance(image, Image.Image):
        return _told_rgb(image)
    pixels = _check_frame(image)
    return Image.fromarray(np.ascontiguousarray(pixels if colour == "rgb" else pixels[..., ::-1]))


def resize_and_crop(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize the short side, antialiased, and cut out the central square.

    Args:
        image: An RGB image, `[H, W, 3]`.
        preprocessing: The two sizes, and how to resize.

    Returns:
        uint8 `[S, S, 3]`, 0 to 255.
    """
    from PIL import Image

    image = _shortened(image)
    width, height = image.size
    short = min(width, height)
    # Truncated, as torchvision does: int(size * long / short).
    resized = tuple(int(preprocessing.resize_size * side / short) for side in image.size)
    size = preprocessing.image_size
    left, top = (round((side - size) / 2) for side in resized)
    if resized == image.size:
        return np.asarray(image.crop((left, top, left + size, top + size)))
    # Only what the square will show is computed; Pillow still reads the pixels around it.
    across, down = width / resized[0], height / resized[1]
    box = (left * across, top * down, (left + size) * across, (top + size) * down)
    how = Image.Resampling[preprocessing.interpolation.upper()]
    return np.asarray(image.resize((size, size), how, box=_within(box, image)))


def normalise(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Scale pixels to [0, 1], subtract the mean and divide by the standard deviation.

    Args:
        pixels: uint8 `[H, W, 3]`, 0 to 255, red first.
        preprocessing: The mean and the standard deviation.

    Returns:
        float32 `[3, H, W]`, C-contiguous.
    """
    mean = np.array(preprocessing.mean, np.float32).reshape(3, 1, 1)
    std = np.array(preprocessing.std, np.float32).reshape(3, 1, 1)
    planes = pixels.transpose(2, 0, 1)  # [3, H, W], still interleaved in memory
    result = np.empty(planes.shape, np.float32)
    np.divide(planes, np.float32(255), out=result)
    result -= mean
    result /= std
    return result


def _cropped(image: Picture, preprocessing: Preprocessing, colour: Colour) -> NDArray[np.uint8]:
    """Give what the network sees of a picture, uint8 `[S, S, 3]`, red first.

    A frame's channels are put in order at the end, where there are few pixels left.
    """
    from PIL import Image

    _check_colour(colour)
    if isinstance(image, Image.Image):
        return resize_and_crop(_told_rgb(image), preprocessing)
    frame = Image.fromarray(np.ascontiguousarray(_check_frame(image)))
    pixels = resize_and_crop(frame, preprocessing)
    return pixels if colour == "rgb" else pixels[..., ::-1]


def _check_colour(colour: str) -> None:
    if colour not in ("rgb", "bgr"):
        msg = f"The colour order is {colour!r}, expected 'rgb' or 'bgr'. Pass one."
        raise InputError(msg)


def _check_frame(image: object) -> NDArray[np.uint8]:
    expected = "expected a uint8 array [height, width, 3] or a PIL image"
    image = to_numpy(image)
    if not isinstance(image, np.ndarray):
        hint = "Open files with snow_runtime.load_image, and bring tensors to NumPy."
        msg = f"The image is a {type(image).__name__}, {expected}. {hint}"
        raise InputError(msg)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        shape = ", ".join(map(str, image.shape))
        msg = (
            f"The image is a {image.dtype} array [{shape}]{_nan_remark(image)}, {expected} with "
            "values from 0 to 255. Convert it; the model does the scaling and normalising itself."
        )
        raise InputError(msg)
    return image


def _nan_remark(image: NDArray[Any]) -> str:
    is_float = np.issubdtype(image.dtype, np.floating)
    return " with NaN in it" if is_float and bool(np.isnan(image).any()) else ""


def _shortened(image: Image.Image) -> Image.Image:
    """Cut a very long picture to its middle."""
    longest = _LONGEST_ASPECT * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = (min(side, longest) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _within(
    box: tuple[float, float, float, float], image: Image.Image
) -> tuple[float, float, float, float]:
    """Cut off what rounding put beyond the picture: Pillow refuses it."""
    left, top, right, bottom = box
    return max(left, 0.0), max(top, 0.0), min(right, image.width), min(bottom, image.height)


def _told_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB, and tell what is odd about it."""
    rgb, remark = upright_rgb(image)
    if remark is not None:
        about = f"About a {image.width} x {image.height} image"
        tell_once(remark._replace(text=f"{about}: {remark.text}"))
    return rgb


def _reason(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return error.strerror or text if isinstance(error, OSError) else text
