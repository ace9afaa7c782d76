from __future__ import annotations

import functools
import itertools
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import TYPE_CHECKING

import pytest

from snow_runtime.cameras import CameraOptions, open_camera
from tests.runtime.cameras.eventually import eventually
from tests.runtime.cameras.mjpeg_server import Client, MjpegServer
from tests.runtime.cameras.pictures import number_of
from tests.runtime.cameras.scripted import FastClock

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("av")

OPTIONS = CameraOptions(open_timeout_s=10, stall_s=5, close_timeout_s=5)
PROBE = """
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
names = ["rtph264pay", "appsrc", "videoconvert"]
missing = [name for name in names if not Gst.ElementFactory.find(name)]
if not any(Gst.ElementFactory.find(name) for name in ("x264enc", "openh264enc")):
    missing.append("x264enc")
raise SystemExit("missing elements: " + " ".join(missing) if missing else 0)
"""


@functools.cache
def interpreter() -> str:
    """Find a Python with GStreamer's RTSP server; the system's, as a rule."""
    reason = ""
    for python in ("/usr/bin/python3", sys.executable):
        if not Path(python).exists():
            continue
        done = subprocess.run(
            [python, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode == 0:
            return python
        reason = reason or (done.stderr.strip().splitlines() or ["no answer"])[-1]
    pytest.skip(f"no Python here has GStreamer's RTSP server: {reason}")


class RtspServer:
    """GStreamer's server as a process, which can be killed and frozen."""

    def __init__(self, port: int = 0, *account: str) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        self.process = subprocess.Popen(
            [interpreter(), str(script), str(port), *account], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the RTSP server did not start"
        self.port = int(line)

    @property
    def uri(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def server() -> Iterator[RtspServer]:
    server = RtspServer()
    yield server
    server.kill()


def seen_ms_ago(number: int) -> int:
    """Tell how old a picture is by the time that it shows."""
    return (int(time.time() * 1000) - number) % 2**16


def test_pictures_are_new_from_the_first_one_on(server: RtspServer) -> None:
    ages = []
    with open_camera(server.uri, options=OPTIONS) as camera:
        for frame in itertools.islice(camera, 12):
            assert frame.image.shape == (128, 512, 3)
            ages.append(seen_ms_ago(number_of(frame.image)))

    assert ages[0] < 800  # FFmpeg has looked at the stream for more than a second before
    assert sorted(ages)[len(ages) // 2] < 400


def test_a_killed_server_is_found_again(server: RtspServer) -> None:
    clock = FastClock()
    with open_camera(server.uri, options=OPTIONS, clock=clock) as camera:
        assert camera.read(10) is not None
        server.kill()
        eventually(lambda: camera.status.state == "reconnecting")
        again = RtspServer(server.port)
        try:
            eventually(lambda: camera.status.state == "connected")
            assert camera.counters.reconnections == 1
        finally:
            again.kill()


def test_a_frozen_server_is_noticed(server: RtspServer) -> None:
    options = replace(OPTIONS, stall_s=0.5)
    with open_camera(server.uri, options=options, clock=FastClock()) as camera:
        assert camera.read(10) is not None
        server.process.send_signal(SIGSTOP)
        try:
            eventually(lambda: camera.status.state == "reconnecting")
        finally:
            server.process.send_signal(SIGCONT)


def test_a_server_that_accepts_and_says_nothing() -> None:
    options = replace(OPTIONS, open_timeout_s=0.3, attempts=1)
    with MjpegServer(Client.stay) as server:
        uri = server.uri.replace("http", "rtsp")
        start = time.monotonic()
        with open_camera(uri, options=options) as camera:
            eventually(lambda: camera.status.state == "failed")
        assert time.monotonic() - start < 5


def test_closing_ends_the_threads_of_the_library(server: RtspServer) -> None:
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir()))
    with open_camera(server.uri, options=OPTIONS) as camera:
        assert camera.read(10) is not None

    eventually(lambda: len(list(tasks.iterdir())) <= before)
    assert not [t for t in threading.enumerate() if t.name.startswith("camera ")]


def test_the_password_is_used_and_never_shown(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    server = RtspServer(0, "me", "hunter22")
    try:
        right, wrong = (
            server.uri.replace("//", f"//me:{password}@") for password in ("hunter22", "hunter33")
        )
        with open_camera(right, options=OPTIONS) as camera:
            assert camera.read(10) is not None
        shown = f"{camera!r} {camera.status}"
        with open_camera(wrong, options=OPTIONS) as camera:  # it is not tried again and again
            eventually(lambda: camera.status.state == "failed")
        assert camera.status.code == 401
        shown += f"{camera!r} {camera.status}"
    finally:
        server.kill()

    assert "hunter" not in shown + caplog.text + "".join(capfd.readouterr())


def test_a_stream_that_is_not_there_is_told(server: RtspServer) -> None:
    with open_camera(f"{server.uri}less", options=OPTIONS) as camera:
        eventually(lambda: camera.status.error)
        assert "404 Not Found: it has no such stream" in str(camera.status.error)
        assert camera.status.code == 404
        assert camera.status.state == "connecting"  # a camera may be starting
