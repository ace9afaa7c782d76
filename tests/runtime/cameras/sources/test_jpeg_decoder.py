from __future__ import annotations

import io
import random
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from snow_runtime.cameras.sources.jpeg_decoder import DamagedJpegError, JpegDecoder
from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytest.importorskip("simplejpeg")


def decode(data: bytes) -> NDArray[np.uint8]:
    return JpegDecoder().decode(data)


ORIENTATION = 0x0112


def photo(width: int = 160, height: int = 120) -> Image.Image:
    """Draw something with edges and noise, as photos have."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width]
    waves = 120 + 60 * np.sin(x / 9)[..., np.newaxis] + 40 * np.cos(y / 7)[..., np.newaxis]
    colours = waves + np.array([0, 20, -30]) + rng.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    """Decode with Pillow, upright: `[H, W, 3]`, blue first."""
    from PIL import ImageOps

    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))[..., ::-1]


def coded_from(data: bytes) -> int:
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def without_tables(data: bytes) -> bytes:
    """Leave out the Huffman tables, as AVI files and USB cameras do."""
    out, at = data[:2], 2
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xC4:
            out += data[at : at + 2 + length]
        at += 2 + length
    return out + data[at:]


def blocks() -> Image.Image:
    """Draw few edges: what a damaged code does to it shows."""
    image = np.full((120, 160, 3), (40, 90, 160), np.uint8)
    image[10:50, 16:30] = image[10:50, 64:100] = 255
    return Image.fromarray(image)


KINDS = {
    "plain": encoded(blocks(), quality=90),
    "baseline": encoded(photo()),
    "grey": encoded(photo().convert("L")),
    "cmyk": encoded(photo().convert("CMYK")),
    "4:2:2": encoded(photo(), subsampling="4:2:2"),
    "4:4:4": encoded(photo(), subsampling="4:4:4"),
    "progressive": encoded(photo(), progressive=True),
    "restarts": encoded(photo(), restart_marker_blocks=4),
    "no tables": without_tables(encoded(photo())),
    "odd size": encoded(photo(37, 23)),
}


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS.keys())
def test_all_kinds_of_jpeg(data: bytes) -> None:
    image = decode(data)

    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert int(np.abs(image.astype(int) - by_pillow(data)).max()) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(photo(), exif=exif.tobytes())

    image = decode(data)

    assert image.flags.c_contiguous
    assert np.array_equal(image, by_pillow(data))


def test_exif_that_cannot_be_read_costs_nothing() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(photo(), exif=exif.tobytes())
    spoilt = data.replace(b"Exif\0\0MM", b"Exif\0\0XX").replace(b"Exif\0\0II", b"Exif\0\0XX")

    assert spoilt != data
    assert decode(spoilt).shape == (120, 160, 3)


@pytest.mark.parametrize("kind", ["baseline", "grey", "4:2:2", "progressive", "no tables"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_coded_data_that_are_missing_with_a_whole_end(
    kind: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    data = KINDS[kind]
    begin = coded_from(data)
    cut = data[: begin + int(share * (len(data) - 2 - begin))] + b"\xff\xd9"

    with pytest.raises(DamagedJpegError, match="premature"):
        decode(cut)
    assert capfd.readouterr() == ("", "")


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Change three bytes of the coded data."""
    found, begin = bytearray(data), coded_from(data)
    for _ in range(3):
        found[draw.randrange(begin, len(data) - 10)] = draw.randrange(250)
    return bytes(found)


def is_wrong(image: NDArray[np.uint8], good: NDArray[np.uint8]) -> bool:
    far = np.abs(image.astype(int) - good.astype(int)) > 40
    return image.shape != good.shape or bool(far.mean() > 0.01)


def told(decoder: JpegDecoder, data: bytes) -> NDArray[np.uint8] | None:
    try:
        return decoder.decode(data)
    except DamagedJpegError:
        return None


@pytest.mark.parametrize("share", [1.0, 0.1], ids=["all damaged", "one in ten damaged"])
def test_much_damage_is_seen(share: float) -> None:
    """What stays unseen decodes without a warning: a JPEG has no checksum."""
    draw, decoder, data = random.Random(5), JpegDecoder(), KINDS["plain"]
    good = decode(data)
    seen = unseen = 0
    for _ in range(int(100 / share)):
        if draw.random() >= share:
            assert told(decoder, data) is not None
            continue
        image = told(decoder, damaged(data, draw))
        seen += image is None
        unseen += image is not None and is_wrong(image, good)
    assert seen > 2 * unseen  # OpenCV says of nearly none that it is damaged


@pytest.mark.parametrize("count", [*range(1, 15), 60])
def test_bytes_too_many_are_a_habit_of_webcams(
    count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    draw, decoder, data = random.Random(5), JpegDecoder(), KINDS["baseline"]
    good = decode(data)
    for number in range(100):
        spare = bytes(draw.randrange(255) for _ in range(count))
        image = told(decoder, data[:-2] + spare + b"\xff\xd9")
        assert image is not None, number
        assert np.array_equal(image, good)
    assert told(decoder, data[: len(data) // 2] + b"\xff\xd9") is None
    assert told(decoder, data[:-2] + bytes(count) + b"\xff\xd9") is not None
    assert capfd.readouterr() == ("", "")


def test_very_many_bytes_too_many_are_damage() -> None:
    data = KINDS["baseline"]

    with pytest.raises(DamagedJpegError, match="extraneous"):
        decode(data[:-2] + b"\x11" * 200 + b"\xff\xd9")


def test_bytes_too_many_once_in_a_while_are_damage() -> None:
    decoder, data = JpegDecoder(), KINDS["baseline"]
    for _ in range(32):
        assert told(decoder, data) is not None

    assert told(decoder, data[:-2] + b"\x11" * 9 + b"\xff\xd9") is None
    assert told(decoder, data) is not None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xd9", b"no picture", KINDS["grey"][:200]])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(DamagedJpegError):
        decode(data)


def test_without_the_decoder_the_pip_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)

    with pytest.raises(MissingDependencyError, match=re.escape(pip_install("camera"))):
        JpegDecoder()
