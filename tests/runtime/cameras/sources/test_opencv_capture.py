from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.cameras import CameraOptions, open_camera
from snow_runtime.errors import CameraError
from tests.runtime.cameras.eventually import eventually
from tests.runtime.cameras.pictures import number_of, numbered
from tests.runtime.cameras.scripted import FastClock

if TYPE_CHECKING:
    from pathlib import Path

cv2 = pytest.importorskip("cv2")

OPTIONS = CameraOptions(open_timeout_s=5, stall_s=5)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Write 20 numbered pictures at 50 a second."""
    path = tmp_path / "video:1.avi"  # FFmpeg must not take it for an address
    size = (256, 64)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50, size)
    for number in range(20):
        writer.write(numbered(number, *size))
    writer.release()
    return path


@pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}"])
def test_every_picture_of_a_file(video: Path, form: str) -> None:
    with open_camera(form.format(video)) as camera:
        frames = list(camera)

        assert camera.mode == "every-frame"
        assert camera.status.state == "ended"
    assert [number_of(frame.image) for frame in frames] == list(range(20))
    assert frames[0].image.shape == (64, 256, 3)
    assert frames[0].image.dtype == np.uint8
    assert camera.counters.frames == 20
    assert camera.counters.drops == 0


def test_a_relative_path(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(video.parent)

    with open_camera(video.name) as camera:
        assert len(list(camera)) == 20


def test_pictures_are_not_overwritten_by_later_ones(video: Path) -> None:
    with open_camera(video) as camera:
        first = camera.read(5)
        assert first is not None
        list(camera)

    assert number_of(first.image) == 0


def test_in_mode_newest_a_file_runs_at_its_own_rate(video: Path) -> None:
    start = time.monotonic()
    with open_camera(video, mode="newest") as camera:
        last = list(camera)[-1]

    assert last.captured_at.monotonic_s - start > last.number / 50
    assert camera.counters.frames == 20


def test_a_file_that_was_cut_short(video: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])

    with open_camera(video) as camera:
        numbers = [number_of(frame.image) for frame in camera]

    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < 15
    assert camera.counters.bad_frames == 1  # the one that was cut
    assert camera.status.state == "ended"
    assert "of 20 pictures" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_what_is_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)

    with open_camera(path) as camera, pytest.raises(CameraError, match="Cannot read the video"):
        camera.read(5)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no such file"):
        open_camera(tmp_path / "video.mp4")


def test_a_library_that_hangs_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "pipe.avi"
    os.mkfifo(path)  # opening it blocks until somebody writes, and nothing can interrupt that
    options = CameraOptions(open_timeout_s=0.2, stall_s=0.2, close_timeout_s=0.2)
    camera = open_camera(path, options=options)
    try:
        with pytest.raises(CameraError, match="stalled"):
            camera.read(5)
        start = time.monotonic()
        camera.close()
        assert time.monotonic() - start < 2
        assert camera.counters.abandoned == 1
    finally:
        os.close(os.open(path, os.O_WRONLY))  # lets it go


class FakeCapture:
    """A V4L2 device that gives numbered pictures, as OpenCV would."""

    opened: Any = None
    parameters: Any = None
    made = 0
    released = 0
    settings: dict[str, float]
    reads = threading.Semaphore(0)  # how many reads may go on

    def __init__(self) -> None:
        type(self).made += 1
        type(self).settings = {}

    def open(self, *arguments: Any) -> bool:
        type(self).opened = arguments
        return os.path.exists(arguments[0]) or "!" in arguments[0]  # noqa: PTH110

    def set(self, name: str, value: float) -> bool:
        self.settings[name] = value
        return True

    def get(self, name: str) -> float:
        return 1000.0 if name == "CAP_PROP_FPS" else 0.0

    def grab(self) -> bool:
        return True

    def read(self) -> tuple[bool, Any]:
        assert self.reads.acquire(timeout=30)
        return True, numbered(3)

    def release(self) -> None:
        type(self).released += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    class Capture(FakeCapture):
        reads = threading.Semaphore(0)

    names = ["V4L2", "GSTREAMER", "ANY", "FFMPEG", "PROP_FPS", "PROP_FRAME_COUNT"]
    names += ["PROP_FRAME_WIDTH", "PROP_FRAME_HEIGHT", "PROP_FOURCC", "PROP_BUFFERSIZE"]
    module = SimpleNamespace(
        VideoCapture=Capture,
        error=RuntimeError,
        videoio_registry=SimpleNamespace(hasBackend=lambda backend: backend != "CAP_FFMPEG"),
        **{f"CAP_{name}": f"CAP_{name}" for name in names},
    )
    load: Any = lambda **_: module  # noqa: E731
    monkeypatch.setattr("snow_runtime.cameras.sources.opencv_capture.load_cv2", load)
    return Capture


def test_a_device_is_told_what_to_do(fake: type[FakeCapture], tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    fake.reads.release()
    uri = f"v4l2://{device}?width=640&height=480&fps=15&fourcc=MJPG"

    with open_camera(uri) as camera:
        frame = camera.read(5)
        fake.reads.release()

    assert frame is not None
    assert fake.opened == (str(device), "CAP_V4L2")
    assert list(fake.settings.items()) == [
        ("CAP_PROP_FOURCC", cv2.VideoWriter_fourcc(*"MJPG")),
        ("CAP_PROP_FRAME_WIDTH", 640),
        ("CAP_PROP_FRAME_HEIGHT", 480),
        ("CAP_PROP_FPS", 15),
        ("CAP_PROP_BUFFERSIZE", 1),
    ]
    assert fake.made == fake.released == 1


def test_a_device_that_goes_away_and_comes_back(
    fake: type[FakeCapture], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = tmp_path / "video0"
    device.touch()
    clock = FastClock()
    with open_camera(f"v4l2://{device}", clock=clock) as camera:
        fake.reads.release()
        assert camera.read(5) is not None

        device.unlink()
        fake.reads.release()  # the read under way; the next one looks first
        eventually(lambda: camera.status.state == "reconnecting")
        eventually(lambda: "no such device" in str(camera.status.error))
        assert "is gone" in caplog.text

        device.touch()
        fake.reads.release(5)
        eventually(lambda: camera.status.state == "connected")
        assert camera.counters.reconnections == 1
        fake.reads.release(1000)


def test_a_device_that_hangs_is_noticed(fake: type[FakeCapture], tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    options = replace(OPTIONS, stall_s=0.1, close_timeout_s=0.1)
    with open_camera(f"v4l2://{device}", options=options, clock=FastClock()) as camera:
        fake.reads.release()
        assert camera.read(5) is not None
        eventually(lambda: camera.status.state == "reconnecting")
        assert "stalled" in str(camera.status.error)
        fake.reads.release(1000)


@pytest.mark.parametrize("query", ["fourcc=MPG", "width=x", "size=3"])
def test_a_wrong_query_of_a_device(fake: type[FakeCapture], query: str) -> None:
    with pytest.raises(CameraError, match="expected"):
        open_camera(f"v4l2:///dev/video0?{query}")
    assert fake.made == 0


def test_a_plain_path_may_be_that_of_a_device(fake: type[FakeCapture]) -> None:
    fake.reads.release(100_000)
    with open_camera("/dev/null", options=OPTIONS) as camera:
        assert camera.read(5) is not None
        assert camera.mode == "newest"

    assert fake.opened[:2] == ("/dev/null", "CAP_V4L2")


@pytest.mark.usefixtures("fake")
def test_a_device_that_is_not_there_yet_is_waited_for() -> None:
    clock = FastClock()
    for path in ("/dev/video-of-nobody", "/dev/snd/../v4l/by-id/usb-x"):
        with open_camera(path, options=OPTIONS, clock=clock) as camera:
            eventually(lambda: "there is no such device" in str(camera.status.error))
            assert camera.status.state == "connecting"
            assert camera.mode == "newest"
    with pytest.raises(CameraError, match="no such file"):
        open_camera("/dev/../no/such/video.mp4")


def test_a_csi_camera_is_opened_by_its_pipeline(fake: type[FakeCapture]) -> None:
    fake.reads.release(100_000)
    with open_camera("csi://2?fps=60", options=OPTIONS) as camera:
        assert camera.read(5) is not None

    assert fake.opened[0].startswith("nvarguscamerasrc sensor-id=2 ! ")
    assert fake.opened[1] == "CAP_GSTREAMER"
