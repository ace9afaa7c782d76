"""Nothing comes along beside an imported picture; one that has nothing beside it stays as it is."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from snow_runtime.collection.exchange.plain_jpeg import jpeg_of

PLACE = b"52.5N 13.4E"
IMAGE = Image.new("RGB", (24, 16), (200, 60, 20))


def written(**fields: Any) -> bytes:
    stream = io.BytesIO()
    IMAGE.save(stream, "JPEG", **fields)
    return stream.getvalue()


def with_segment(marker: int, body: bytes) -> bytes:
    """Give a JPEG with one segment more behind its begin."""
    content = written()
    segment = bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body
    return content[:2] + segment + content[2:]


@pytest.mark.parametrize(
    "content",
    [
        written(comment=PLACE),
        written(xmp=b"<x:xmpmeta>" + PLACE + b"</x:xmpmeta>"),
        with_segment(0xED, b"Photoshop 3.0\x008BIM" + PLACE),
        with_segment(0xE2, b"FPXR\0" + PLACE),
        with_segment(0xE0, b"JFXX\0\x10" + PLACE),
        with_segment(0xEF, PLACE),
        written() + PLACE,
        written() + PLACE + written(),
    ],
    ids=["comment", "xmp", "iptc", "flashpix", "small copy", "unknown", "behind", "another one"],
)
def test_what_says_more_than_the_picture_is_left_out(content: bytes) -> None:
    found = jpeg_of(content, IMAGE)
    assert PLACE not in found
    assert Image.open(io.BytesIO(found)).size == (24, 16)


def test_an_exif_of_where_it_was_is_left_out() -> None:
    exif = Image.Exif()
    exif[0x010E] = PLACE.decode()
    assert PLACE not in jpeg_of(written(exif=exif), IMAGE)


@pytest.mark.parametrize(
    "content",
    [written(), written(quality=30, progressive=True), written(icc_profile=b"profile" * 40)],
)
def test_a_plain_one_is_kept_byte_for_byte(content: bytes) -> None:
    assert jpeg_of(content, IMAGE) == content


def test_another_format_becomes_a_jpeg() -> None:
    stream = io.BytesIO()
    IMAGE.save(stream, "PNG")
    assert jpeg_of(stream.getvalue(), IMAGE).startswith(b"\xff\xd8")
