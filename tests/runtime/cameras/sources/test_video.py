"""Video files, made here by PyAV's encoders, with pictures that show their numbers."""

from __future__ import annotations

import gc
import itertools
import os
import random
import struct
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.cameras import open_camera
from tests.runtime.cameras.pictures import number_of, numbered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

av = pytest.importorskip("av")

SIZE = (256, 64)
COUNT = 40


def encode(
    path: Path,
    times: Iterable[float],
    *,
    codec: str = "libx264",
    size: tuple[int, int] = SIZE,
    first: int = 0,
    **stream_settings: Any,
) -> Path:
    """Write numbered pictures, shown at times in seconds."""
    options = {"g": "10", "bf": "0"} if codec != "libx264" else {"g": "10", "bf": "2", "crf": "10"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        tick = Fraction(1, 25 if path.suffix == ".avi" else 1000)  # AVI has one rate
        stream.time_base = stream.codec_context.time_base = tick
        for name, value in stream_settings.items():
            setattr(stream.codec_context, name, value)
        for number, at_s in enumerate(times, first):
            frame = av.VideoFrame.from_ndarray(numbered(number, *size), format="bgr24")
            frame.pts, frame.time_base = round(at_s / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def steady(count: int = COUNT) -> list[float]:
    return [number / 25 for number in range(count)]


def with_pauses(count: int = COUNT) -> list[float]:
    """As a camera that records only while something moves: twenty seconds of nothing."""
    return [number / 25 + 20 * (number >= count // 2) for number in range(count)]


@pytest.mark.parametrize("times", [steady, with_pauses])
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mkv", "libx264"),
        ("a.flv", "libx264"),
        ("a.ts", "libx264"),
        ("a.mp4", "libx264"),
        ("a.webm", "libvpx"),
        ("a.mov", "mjpeg"),
    ],
)
def test_every_picture_of_an_intact_file_comes(
    tmp_path: Path, name: str, codec: str, times: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {}
    path = encode(tmp_path / name, times(), codec=codec, **settings)

    with open_camera(path) as camera:
        numbers = [number_of(frame.image) for frame in camera]

    assert numbers == list(range(COUNT))
    assert camera.counters.bad_frames == 0
    assert camera.status.state == "ended"
    assert caplog.text == ""


def test_a_picture_that_changes_its_size_comes_in_its_own(tmp_path: Path) -> None:
    sizes = [(256, 64), (512, 128), (128, 96)]
    parts = [
        encode(tmp_path / f"{n}.ts", steady(10), size=size, first=10 * n)
        for n, size in enumerate(sizes)
    ]
    path = tmp_path / "all.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))

    with open_camera(path) as camera:
        seen = {number_of(frame.image): frame.image.shape[1::-1] for frame in camera}
        assert camera.counters.size_changes == 2

    assert seen == {n: sizes[n // 10] for n in range(30)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mov", "mjpeg")]
)
def test_no_picture_that_is_known_to_be_damaged_is_handed_out(
    tmp_path: Path, name: str, codec: str, seed: int
) -> None:
    settings: dict[str, Any] = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {}
    path = encode(tmp_path / name, steady(), codec=codec, **settings)
    whole = [image.astype(int) for image in images(path)]
    damage(path, random.Random(seed))

    with open_camera(path) as camera:
        given = [frame.image.astype(int) for frame in camera]

    assert all(min(abs(image - right).mean() for right in whole) < 2 for image in given)
    assert camera.counters.bad_frames > 0
    assert len(given) + camera.counters.bad_frames <= COUNT
    assert len(given) > COUNT // 4  # those after the next picture that stands alone come again


def damage(path: Path, draw: random.Random) -> None:
    """Write noise over the data of three of the pictures."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in draw.sample(packets[1:], 3):
        place = data.index(packet) + len(packet) // 2
        length = len(packet) // 4
        data[place : place + length] = draw.randbytes(length)
    path.write_bytes(data)


def images(path: Path) -> list[NDArray[np.uint8]]:
    with open_camera(path) as camera:
        return [frame.image for frame in camera]


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.avi"])
def test_a_file_that_was_cut_short_gives_what_is_whole(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, steady(), codec="mpeg4" if name == "a.avi" else "libx264")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])

    with open_camera(path) as camera:
        numbers = [number_of(frame.image) for frame in camera]

    assert numbers == sorted(set(numbers))
    assert 0 < len(numbers) < COUNT
    assert camera.status.state == "ended"


@pytest.mark.parametrize("name", ["a.flv", "a.avi", "a.mjpeg"])
def test_the_picture_that_a_file_ends_within_is_lost_alone_and_counted(
    tmp_path: Path, name: str
) -> None:
    codec = {"a.flv": "libx264", "a.avi": "mpeg4", "a.mjpeg": "mjpeg"}[name]
    settings: dict[str, Any] = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {"max_b_frames": 0}
    path = encode(tmp_path / name, steady(), codec=codec, **settings)
    with av.open(str(path)) as container:
        last = [bytes(packet) for packet in container.demux(video=0) if packet.size][30]
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(last) + len(last) // 2])

    with open_camera(path) as camera:
        numbers = [number_of(frame.image) for frame in camera]

    assert numbers == list(range(30))
    assert camera.counters.bad_frames == 1


@pytest.mark.parametrize("broken", range(10, 20))
def test_pictures_are_left_out_by_the_order_in_which_they_are_decoded(
    tmp_path: Path, broken: int
) -> None:
    """The next key picture may be decoded before a damaged one, and shown after its error."""
    path = encode(tmp_path / "a.mp4", steady(30))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        ticks = {packet.pts: at for at, packet in enumerate(packets)}
        decoded_at = [ticks[pts] for pts in sorted(ticks)]  # by the number of a picture
        place, length = packets[broken].pos, packets[broken].size
    data = bytearray(path.read_bytes())
    data[place + 4 : place + length] = b"\xff" * (length - 4)
    path.write_bytes(data)

    with open_camera(path) as camera:
        numbers = [number_of(frame.image) for frame in camera]

    # Of the ten pictures from the second key picture on, those stay that were decoded before.
    whole = [n for n in range(30) if not broken <= decoded_at[n] < 20]
    assert numbers == [n for n in whole if n in numbers]
    assert len(numbers) >= len(whole) - 1  # a decoder may keep the one before an error to itself
    assert 29 <= len(numbers) + camera.counters.bad_frames <= 30


@pytest.mark.parametrize(("ratio", "shown"), [("1/2", (128, 256)), ("2", (64, 512))])
def test_pixels_that_are_not_square_are_made_so(
    tmp_path: Path, ratio: str, shown: tuple[int, int]
) -> None:
    path = encode(tmp_path / "a.mkv", steady(4), sample_aspect_ratio=Fraction(ratio))

    found = images(path)

    assert {image.shape for image in found} == {(*shown, 3)}
    assert [number_of(image) for image in found] == list(range(4))


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda image: image),
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # clockwise
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, 1), np.fliplr),  # as front cameras have it
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
        ((0, 0, 0, 0), lambda image: image),  # no matrix at all, though it stands there
    ],
)
def test_a_picture_that_a_phone_turned_or_mirrored_is_shown_as_it_was(
    tmp_path: Path, matrix: tuple[int, ...], shown: Any
) -> None:
    path = encode(tmp_path / "a.mp4", steady(3))
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)

    expected = [shown(numbered(n, *SIZE)) for n in range(3)]
    for image, right in zip(images(path), expected, strict=True):
        assert image.shape == right.shape
        assert abs(image.astype(int) - right).mean() < 4


def test_a_picture_that_was_read_leaves_nothing_behind(tmp_path: Path) -> None:
    """PyAV's frames hold threads, and some are cycles that only the collector ends."""
    path = encode(tmp_path / "a.mp4", steady())
    tasks = Path("/proc/self/task")
    images(path)
    gc.collect()
    before = len(list(tasks.iterdir()))
    gc.disable()
    try:
        with open_camera(path) as camera:
            seen = [len(list(tasks.iterdir())) for frame in camera if frame.number % 8 == 7]
    finally:
        gc.enable()

    assert max(seen[1:]) <= before + 2 + (os.cpu_count() or 1) + 1


def test_colours_are_those_of_another_reader(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "a.mp4"
    colour = np.full((64, 256, 3), (200, 60, 30), np.uint8)
    colour[:, 128:] = (20, 180, 240)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 256, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(colour, format="bgr24")))
        container.mux(stream.encode(None))

    (found,) = images(path)
    there, other = cv2.VideoCapture(str(path)).read()

    assert there
    assert abs(found.astype(int) - other).max() <= 6
    assert abs(found.astype(int) - colour).mean() < 4


def test_a_picture_that_claims_to_be_huge_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snow_runtime.errors import CameraError

    path = encode(tmp_path / "a.mkv", steady(4))
    monkeypatch.setattr("snow_runtime.cameras.sources.video.MOST_PIXELS", SIZE[0] * SIZE[1] - 1)

    with open_camera(path) as camera, pytest.raises(CameraError, match="no picture that can be"):
        camera.read(5)


def test_a_way_of_coding_that_is_not_known_is_told(tmp_path: Path) -> None:
    from snow_runtime.errors import CameraError

    path = encode(tmp_path / "a.mp4", steady(4))
    data = path.read_bytes()
    assert data.count(b"avc1") >= 1
    at = data.index(b"avc1", data.index(b"stsd"))
    path.write_bytes(data[:at] + b"zzzz" + data[at + 4 :])

    with open_camera(path) as camera, pytest.raises(CameraError, match="not known here"):
        camera.read(5)


def test_the_picture_on_a_cover_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        still = av.VideoFrame.from_ndarray(numbered(0, 64, 64), format="bgr24")
        container.mux(itertools.chain(cover.encode(still), cover.encode(None)))
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(numbered(number, *SIZE), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    assert [image.shape[1::-1] for image in images(path)] == [SIZE] * 4


def test_a_file_without_a_picture(tmp_path: Path) -> None:
    from snow_runtime.errors import CameraError

    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(itertools.chain(stream.encode(frame), stream.encode(None)))

    with open_camera(path) as camera, pytest.raises(CameraError, match="it holds no video"):
        camera.read(5)
