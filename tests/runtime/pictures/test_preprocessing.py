from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from snow_runtime.errors import InputError
from snow_runtime.graph.manifest import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from snow_runtime.pictures.preprocessing import (
    as_rgb,
    decode_image,
    load_image,
    normalise,
    prepare,
    resize_and_crop,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def noise(height: int, width: int, channels: int | None = 3) -> NDArray[np.uint8]:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(height * 1000 + width).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "size", "resized"),
    [
        (300, 400, 224, 256),
        (400, 300, 224, 256),
        (333, 333, 224, 256),
        (50, 71, 64, 73),
        (73, 90, 64, 73),
        (64, 64, 64, 64),
        (1, 1, 8, 9),
        (500, 17, 33, 38),
        (97, 801, 128, 146),
    ],
)
def test_prepare_is_torchvisions_pipeline_within_a_grey_level(
    height: int, width: int, size: int, resized: int
) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    image = Image.fromarray(noise(height, width))
    reference = transforms.Compose(
        [
            transforms.Resize(resized, antialias=True),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )(image).numpy()
    preprocessing = Preprocessing(size, resized, IMAGENET_MEAN, IMAGENET_STD)
    tensor = prepare(image, preprocessing)
    assert tensor.dtype == np.float32
    assert tensor.shape == (3, size, size)
    assert tensor.flags.c_contiguous
    levels = np.abs(tensor - reference) * np.reshape(IMAGENET_STD, (3, 1, 1)) * 255
    assert levels.max() < 1.001  # Pillow rounds the square's place to single precision
    if min(height, width) == resized:
        np.testing.assert_array_equal(tensor, reference)
    np.testing.assert_array_equal(prepare(noise(height, width), preprocessing), tensor)


def test_normalise_is_the_formula() -> None:
    pixels = noise(5, 7)
    preprocessing = Preprocessing(5, 5, (0.1, 0.2, 0.3), (0.5, 1.5, 2.5))
    result = normalise(pixels, preprocessing)
    for channel in range(3):
        mean, std = preprocessing.mean[channel], preprocessing.std[channel]
        expected = (pixels[:, :, channel].astype(np.float64) / 255 - mean) / std
        np.testing.assert_allclose(result[channel], expected, rtol=1e-5, atol=1e-6)


def test_bgr_frames_and_views_give_the_same_tensor() -> None:
    rgb = noise(20, 30)
    preprocessing = Preprocessing.for_size(16)
    expected = prepare(rgb, preprocessing)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    np.testing.assert_array_equal(prepare(bgr, preprocessing, "bgr"), expected)
    strided = np.repeat(np.repeat(rgb, 2, axis=0), 2, axis=1)[::2, ::2]
    np.testing.assert_array_equal(prepare(strided, preprocessing), expected)


def test_the_frame_is_left_as_it_was() -> None:
    rgb = noise(16, 16)
    before = rgb.copy()
    rgb.flags.writeable = False
    prepare(rgb, Preprocessing(16, 16, (0.5,) * 3, (0.5,) * 3))
    np.testing.assert_array_equal(rgb, before)


@pytest.mark.parametrize(("height", "width"), [(1, 60_000), (60_000, 1), (2, 50_001)])
def test_a_long_strip_is_cut_before_it_is_enlarged(height: int, width: int) -> None:
    result = resize_and_crop(Image.fromarray(noise(height, width)), Preprocessing.for_size(224))
    assert result.shape == (224, 224, 3)


def float_frame(value: float) -> NDArray[np.float32]:
    return np.full((8, 8, 3), value, np.float32)


@pytest.mark.parametrize(
    ("image", "seen"),
    [
        (float_frame(0.5), r"float32 array \[8, 8, 3\], expected a uint8 array"),
        (float_frame(np.nan), r"float32 array \[8, 8, 3\] with NaN in it"),
        (noise(8, 8).astype(np.int64), "int64"),
        (noise(8, 8).astype(np.uint16), "uint16"),
        (noise(8, 8, None), r"uint8 array \[8, 8\]"),
        (noise(8, 8, 4), r"\[8, 8, 4\]"),
        (noise(8, 8)[None], r"\[1, 8, 8, 3\]"),
        (noise(8, 8).transpose(2, 0, 1), r"\[3, 8, 8\]"),
        (np.zeros((0, 8, 3), np.uint8), r"\[0, 8, 3\]"),
        (np.array(3), r"array \[\]"),
        ("photo.jpg", "is a str, .*load_image"),
        (None, "is a NoneType"),
        ([[[0, 0, 0]]], "is a list"),
        (Image.new("RGB", (0, 5)), "0 x 5 pixels"),
        (Image.new("F", (5, 5)), "floating point"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_was_seen(image: Any, seen: str) -> None:
    with pytest.raises(InputError, match=seen):
        prepare(image, Preprocessing.for_size(8))


def test_an_unknown_colour_order_is_refused() -> None:
    colour: Any = "yuv"
    with pytest.raises(InputError, match="'yuv', expected 'rgb' or 'bgr'"):
        prepare(noise(8, 8), Preprocessing.for_size(8), colour)


# ------------------------------------------------------------------------------------ load_image


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    assert image.mode == "RGB"
    return np.asarray(image)


def test_grey_photos_get_three_equal_channels(tmp_path: Path) -> None:
    grey = noise(6, 9, None)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        pixels(load_image(tmp_path / "a.png")), np.stack([grey] * 3, axis=2)
    )


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129, 257], [25700, 32768, 65534, 65535]], np.uint16)
    expected = np.rint(deep / 65535 * 255).astype(np.uint8)
    Image.fromarray(deep).save(tmp_path / "a.png")
    Image.fromarray(deep).save(tmp_path / "a.tiff")
    (tmp_path / "a.pgm").write_bytes(b"P5 4 2 65535\n" + deep.astype(">u2").tobytes())
    for name in ("a.png", "a.tiff", "a.pgm"):
        result = pixels(load_image(tmp_path / name))
        np.testing.assert_array_equal(result, np.stack([expected] * 3, axis=2), err_msg=name)


@pytest.mark.parametrize(("mode", "suffix"), [("1", "png"), ("CMYK", "jpg"), ("YCbCr", "jpg")])
def test_other_modes_agree_with_pillows_own_conversion(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(16, 24)).convert(mode).save(path)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"))
    np.testing.assert_array_equal(pixels(load_image(path)), expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Whether the picture is loaded yet or not: Pillow turns TIFFs by itself as it loads them."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(noise(16, 24)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    Image.fromarray(noise(16, 24)).save(tmp_path / f"b.{suffix}", exif=exif)
    with Image.open(tmp_path / f"b.{suffix}") as opened:
        np.testing.assert_array_equal(pixels(as_rgb(opened)), expected)
    loaded = load_image(tmp_path / f"b.{suffix}")
    np.testing.assert_array_equal(pixels(loaded), expected)
    np.testing.assert_array_equal(pixels(as_rgb(loaded)), expected)


def test_a_damaged_exif_block_does_not_hide_the_picture(tmp_path: Path) -> None:
    # An IFD that claims 65535 entries and has none.
    block = b"Exif\x00\x00" + b"MM\x00*" + struct.pack(">IH", 8, 65535)
    Image.fromarray(noise(16, 24)).save(tmp_path / "a.png", exif=block)
    np.testing.assert_array_equal(pixels(load_image(tmp_path / "a.png")), noise(16, 24))


def test_thirty_two_bits_are_refused(tmp_path: Path) -> None:
    """Unlike 16 bits, which Pillow opens in the same mode from some formats."""
    values = noise(8, 8)[..., 0]
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "a.tif")
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "a.png")

    with pytest.raises(InputError, match=r"32-bit integers, expected 8 or 16 bits"):
        load_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels(load_image(tmp_path / "a.png"))[..., 0], values)


def test_a_photo_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(6, 9)).save(path)
    image = load_image(str(path))
    path.unlink()
    np.testing.assert_array_equal(pixels(image), noise(6, 9))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    Image.fromarray(noise(64, 64)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "float.tiff")
    for name in ("text.jpg", "empty.jpg", "cut.jpg", "float.tiff", "none.jpg", "", "nul\0"):
        with pytest.raises(InputError) as caught:
            load_image(tmp_path / name)
        assert repr(str(tmp_path / name)) in str(caught.value)
        assert "expected" in str(caught.value)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
def test_the_content_of_a_file_is_read_like_the_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(form))
    np.testing.assert_array_equal(pixels(decode_image(path.read_bytes())), pixels(load_image(path)))


def test_content_that_is_no_picture_is_refused_by_its_size() -> None:
    whole = encoded("JPEG")
    for content, said in ((b"", "of 0 bytes"), (b"text", "of 4 bytes"), (whole[:-300], "complete")):
        with pytest.raises(InputError, match=said):
            decode_image(content)
    with pytest.raises(InputError, match=r"photo 'a\.jpg'"):
        decode_image(b"text", "a.jpg")


def encoded(form: str) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise(16, 24)).save(stream, form, **({} if form == "GIF" else {"exif": exif}))
    return stream.getvalue()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP", "GIF"]), st.data())
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata
def test_a_damaged_photo_is_an_input_error_or_a_picture(
    tmp_path: Path, form: str, data: st.DataObject
) -> None:
    content = bytearray(encoded(form))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    path = tmp_path / "photo"
    path.write_bytes(content[:end] if data.draw(st.booleans()) else content)
    try:
        image = load_image(path)
    except InputError:
        return
    assert image.mode == "RGB"
