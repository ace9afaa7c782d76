from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from snow_runtime.cameras import open_camera
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from pathlib import Path


def save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (6, 4)) -> None:
    Image.new("RGB", size, colour).save(path)


def test_pictures_come_in_the_order_of_their_numbers_blue_first(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        save(tmp_path / f"frame{number}.png", (number, 0, 200))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")

    with open_camera(tmp_path) as camera:
        frames = list(camera)

    assert [frame.number for frame in frames] == [0, 1, 2]
    assert [frame.image[0, 0].tolist() for frame in frames] == [[200, 0, n] for n in (1, 9, 10)]
    assert frames[0].image.shape == (4, 6, 3)
    assert camera.status.state == "ended"
    assert camera.counters.frames == 3
    assert camera.counters.drops == 0


def test_sizes_may_differ_and_damaged_pictures_are_counted(tmp_path: Path) -> None:
    save(tmp_path / "1.png", (1, 2, 3))
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    save(tmp_path / "3.png", (1, 2, 3), (9, 9))

    with open_camera(f"folder:{tmp_path}") as camera:
        assert [frame.image.shape[:2] for frame in camera] == [(4, 6), (9, 9)]

    assert camera.counters.bad_frames == 1


def test_with_a_rate_a_folder_runs_like_a_camera(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", (number, 0, 0))

    start = time.monotonic()
    with open_camera(f"folder://{tmp_path}?fps=20", mode="newest") as camera:
        last = list(camera)[-1]

    assert last.captured_at.monotonic_s - start > 2 / 20


def test_without_a_rate_newest_has_no_meaning(tmp_path: Path) -> None:
    save(tmp_path / "1.png", (1, 2, 3))

    with pytest.raises(CameraError, match=r"expected \?fps=N"):
        open_camera(tmp_path, mode="newest")


def test_an_empty_folder(tmp_path: Path) -> None:
    with open_camera(tmp_path) as camera, pytest.raises(CameraError, match="holds no pictures"):
        camera.read(10)

    assert camera.status.state == "failed"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no such folder"):
        open_camera(f"folder:{tmp_path / 'missing'}")


def test_what_is_no_picture_is_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1.png", "2.JPG", "3.gif", "._1.png", "SYNOPHOTO_THUMB_M.jpg"):
        save(tmp_path / name, (1, 2, 3))
    for name in ("4.heic", "5.HEIC", "Thumbs.db", "6"):
        (tmp_path / name).write_bytes(b"?")
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "more.png").mkdir()
    (tmp_path / "nothing.png").symlink_to(tmp_path / "missing")

    with open_camera(tmp_path) as camera:
        assert len(list(camera)) == 3

    (record,) = [each for each in caplog.records if "Left out" in each.getMessage()]
    for part in (
        "2 .heic files, which are not read here ('4.heic' and others)",
        "2 files that a system or photo tool left",
        "1 hidden file ('._1.png')",
        "1 file without an ending ('6')",
        "1 folder that a system or photo tool left ('@eaDir')",
        "1 folder, which is not looked into ('more.png')",
        "1 entry that is no file ('nothing.png')",
    ):
        assert part in record.getMessage()


def test_a_folder_of_nothing_but_unread_files(tmp_path: Path) -> None:
    (tmp_path / "1.heic").write_bytes(b"?")
    with open_camera(tmp_path) as camera, pytest.raises(CameraError, match=r"1 \.heic file, which"):
        camera.read(10)


def test_the_camera_and_the_training_reader_take_the_same_files(tmp_path: Path) -> None:
    find_pictures = pytest.importorskip("snow_deploy.data.imagefolder").find_pictures
    ends = ("jpg", "JPEG", "png", "gif", "bmp", "tif", "webp", "pgm", "jp2", "ico", "tga", "heic")
    for end in (*ends, "txt", "db"):
        (tmp_path / f"a.{end}").write_bytes(b"?")
    for name in (".a.png", "._a.jpg", "Thumbs.db", "b"):
        (tmp_path / name).write_bytes(b"?")

    with open_camera(tmp_path) as camera:
        assert list(camera) == []

    assert camera.counters.bad_frames == len(find_pictures(tmp_path)) >= 9
