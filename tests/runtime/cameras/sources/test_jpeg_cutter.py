from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from snow_runtime.cameras.sources.jpeg_cutter import JpegCutter
from tests.runtime.cameras.pictures import jpeg

PICTURES = [jpeg(number, width, 16 + number) for number, width in enumerate([16, 64, 256])]
NOISE = (
    st.binary(max_size=60)
    .map(lambda data: data.replace(b"\xff\xd8", b""))
    .filter(lambda data: not data.endswith(b"\xff") and b"\xff\xd8" not in data)
)


def with_thumbnail() -> bytes:
    """Make a picture with another one inside an APP1 segment."""
    inner = jpeg(9, 32, 16)
    segment = b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner
    return PICTURES[1][:2] + segment + PICTURES[1][2:]


def progressive(*, restart: bool = False) -> bytes:
    stream = io.BytesIO()
    image = Image.effect_noise((80, 48), 90)
    image.save(stream, "JPEG", progressive=not restart, restart_marker_blocks=2 * restart)
    return stream.getvalue()


def feed(cutter: JpegCutter, data: bytes, sizes: list[int]) -> list[bytes]:
    """Feed data in pieces of the given sizes, over and over."""
    found, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += cutter.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    return found


KINDS = [*PICTURES, with_thumbnail(), progressive(), progressive(restart=True)]


@given(
    st.lists(st.tuples(NOISE, st.sampled_from(KINDS)), max_size=4),
    st.lists(st.integers(1, 5000), min_size=1, max_size=5),
    st.sampled_from([None, b"frame", b"--frame"]),
)
def test_all_pictures_are_found_whatever_stands_between_them(
    parts: list[tuple[bytes, bytes]], sizes: list[int], boundary: bytes | None
) -> None:
    cutter = JpegCutter(boundary)
    data = b"".join(noise + b"\r\n--frame\r\n\r\n" + picture for noise, picture in parts)

    assert feed(cutter, data, sizes) == [picture for _, picture in parts]
    assert cutter.bad == 0


@given(
    st.lists(st.binary(max_size=400) | st.sampled_from([b"\xff\xd8\xff", b"\xff\xda", *KINDS])),
    st.lists(st.integers(1, 300), min_size=1, max_size=5),
    st.none() | st.binary(max_size=8),
)
def test_garbage_is_survived(parts: list[bytes], sizes: list[int], boundary: bytes | None) -> None:
    cutter = JpegCutter(boundary, most_bytes=2000)
    for part in parts:
        for picture in feed(cutter, part, sizes):
            assert picture.startswith(b"\xff\xd8\xff")
            assert picture.endswith(b"\xff\xd9")
            assert len(picture) <= 2000
        assert cutter.waiting_bytes <= 2000


@given(st.data(), st.booleans(), st.lists(st.integers(1, 2000), min_size=1, max_size=4))
def test_a_picture_cut_short_costs_no_other(
    data: st.DataObject, bounded: bool, sizes: list[int]
) -> None:
    short = data.draw(st.sampled_from(KINDS))
    short = short[: data.draw(st.integers(3, len(short) - 2))]
    whole = data.draw(st.sampled_from(KINDS))
    cutter = JpegCutter(b"frame")
    between = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"
    before = between if bounded else b""

    assert feed(cutter, before + short + between + whole, sizes) == [whole]
    assert cutter.bad >= 1


@given(st.data(), st.lists(st.integers(1, 2000), min_size=1, max_size=4))
def test_a_damaged_picture_costs_no_other(data: st.DataObject, sizes: list[int]) -> None:
    damaged = bytearray(data.draw(st.sampled_from(KINDS)))
    at = data.draw(st.integers(3, len(damaged) - 1))
    damaged[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    whole = data.draw(st.sampled_from(KINDS))
    cutter = JpegCutter(b"frame")
    between = b"\r\n--frame\r\n\r\n"

    *others, last = feed(cutter, between + damaged + between + whole, sizes)
    assert last == whole
    assert len(others) + cutter.bad >= 1  # what is sound by its structure is left to the decoder


def test_a_picture_cut_short_is_noticed_without_a_boundary_too() -> None:
    cutter = JpegCutter()
    short = PICTURES[2][: len(PICTURES[2]) // 2]

    assert cutter.feed(short + b"\r\nother\r\n\r\n" + PICTURES[1]) == [PICTURES[1]]
    assert cutter.bad == 1


def test_a_picture_is_there_with_its_last_byte() -> None:
    cutter = JpegCutter(b"frame")

    assert cutter.feed(PICTURES[0][:-1]) == []
    assert cutter.feed(PICTURES[0][-1:]) == [PICTURES[0]]
    assert cutter.waiting_bytes == 0


def test_pictures_that_are_too_large() -> None:
    bytes_, pixels = JpegCutter(most_bytes=500), JpegCutter(most_pixels=16 * 16)

    assert feed(bytes_, PICTURES[2] + PICTURES[2], [100]) == []
    assert bytes_.bad == 2
    assert pixels.feed(PICTURES[2] + PICTURES[0]) == [PICTURES[0]]
    assert pixels.bad == 1


def test_fill_bytes_before_a_marker_are_allowed() -> None:
    filled = PICTURES[0][:2] + b"\xff\xff" + PICTURES[0][2:]

    assert JpegCutter().feed(filled) == [filled]


@pytest.mark.parametrize(
    "damaged",
    [
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\x00\x01",
        b"\xff\xd8\xff\xe0\x00\x02no marker",
        b"\xff\xd8\xff\xda\x00\x02 no size before",
        b"\xff\xd8\xff\xc0\x00\x04\x08\x00",
        b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x00\x00\x00" + bytes(10),
        b"\xff\xd8\xff\x00",
    ],
)
def test_what_only_begins_like_a_picture(damaged: bytes) -> None:
    cutter = JpegCutter()

    assert cutter.feed(damaged + PICTURES[0]) == [PICTURES[0]]
    assert cutter.bad == 1
