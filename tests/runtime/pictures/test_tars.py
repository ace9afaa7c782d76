from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.errors import InputError
from snow_runtime.pictures.tars import Member, is_tar, read_members, split_name

FILES = [("a/0001.jpg", b"x" * 700), ("a/0001.cls", b"3"), ("b.png", b""), ("c.jpg", b"y" * 512)]


def packed(files: list[tuple[str, bytes]] = FILES) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


WHOLE = packed()
CONTENT_BYTES = 4 * 512 + 1024 + 512 + 512  # headers, and contents in blocks


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_members_are_read_in_order_with_where_they_begin(compress: type[bytes]) -> None:
    found = list(read_members(io.BytesIO(compress(WHOLE)), "x.tar"))

    assert [(each.name, each.content) for each in found] == FILES
    for each in found:
        assert WHOLE[each.offset : each.offset + each.size] == each.content


def test_contents_are_left_where_they_are_if_not_asked_for() -> None:
    found = list(read_members(io.BytesIO(WHOLE), "x.tar", wanted=lambda _: False))

    assert [(each.name, each.size, each.content) for each in found] == [
        (name, len(content), None) for name, content in FILES
    ]


def read_as_far_as_it_goes(data: bytes, *, contents: bool = True) -> tuple[list[Member], str]:
    found: list[Member] = []
    try:
        found.extend(read_members(io.BytesIO(data), "in/x.tar", wanted=lambda _: contents))
    except InputError as error:
        return found, str(error)
    return found, ""


@given(st.integers(0, len(WHOLE) - 1), st.booleans())
def test_a_tar_that_is_cut_off_anywhere_never_looks_whole(place: int, contents: bool) -> None:
    found, said = read_as_far_as_it_goes(WHOLE[:place], contents=contents)

    assert [each.name for each in found] == [name for name, _ in FILES[: len(found)]]
    if contents:
        assert [each.content for each in found] == [content for _, content in FILES[: len(found)]]
    if said:
        assert "in/x.tar" in said
    else:
        assert place >= CONTENT_BYTES + 512  # the mark of the end is there
        assert len(found) == len(FILES)


@given(st.data())
def test_a_cut_compressed_tar_never_looks_whole(data: st.DataObject) -> None:
    whole = gzip.compress(WHOLE)

    found, said = read_as_far_as_it_goes(whole[: data.draw(st.integers(0, len(whole) - 1))])

    # Without a word only the checksum is missing, which stands behind the mark of the end.
    assert "in/x.tar" in said or len(found) == len(FILES)


@given(st.binary(max_size=2000))
def test_noise_is_refused_in_a_sentence(noise: bytes) -> None:
    with pytest.raises(InputError, match=r"x\.tar"):
        list(read_members(io.BytesIO(noise), "x.tar"))


def test_a_damaged_header_is_an_error_and_no_end() -> None:
    damaged = bytearray(WHOLE)
    place = 512 + 1024  # the second member's header
    damaged[place : place + 100] = b"\xff" * 100

    with pytest.raises(InputError, match="behind its first 1 files"):
        list(read_members(io.BytesIO(bytes(damaged)), "x.tar"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a/0001.jpg", ("a/0001", "jpg")),
        ("0001.seg.PNG", ("0001", "seg.png")),
        ("a.b/c.cls", ("a.b/c", "cls")),
        ("plain", ("plain", "")),
    ],
)
def test_a_name_is_a_key_and_an_ending(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts


def test_tars_are_known_by_their_names() -> None:
    assert all(map(is_tar, ["a.tar", "a.TAR", "a.tar.gz", "a.tgz"]))
    assert not any(map(is_tar, ["a.tar.part", "tar", "a.zip"]))
