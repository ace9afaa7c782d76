from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.cameras import open_camera
from snow_runtime.cameras.sources.import_opencv import load_cv2
from snow_runtime.errors import CameraError, MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("uri", "library"),
    [
        ("rtsp://h/x", "av"),
        ("http://h/x", "requests"),
        ("v4l2:///dev/video0", "cv2"),
        ("csi://0", "cv2"),
    ],
)
def test_without_its_library_the_pip_command_is_told(
    uri: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingDependencyError, match=re.escape(pip_install("camera"))):
        open_camera(uri)


def test_what_needs_no_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)

    with open_camera("synthetic://?width=16&height=16") as camera:
        assert camera.read(5) is not None
    open_camera(tmp_path).close()


def test_importing_cameras_imports_no_opencv_and_no_numpy_of_its_own_accord() -> None:
    program = "import sys, snow_runtime.cameras; print('cv2' in sys.modules, 'PIL' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False False\n"


class WithoutGStreamer:
    __version__ = "5.0"

    @staticmethod
    def getBuildInformation() -> str:  # noqa: N802 - OpenCV's name
        return "    GStreamer:                   NO\n"


def test_a_csi_camera_needs_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = WithoutGStreamer
    monkeypatch.setitem(sys.modules, "cv2", module)

    with pytest.raises(MissingDependencyError, match="apt install python3-opencv"):
        open_camera("csi://0")
    assert load_cv2() is module


@pytest.mark.parametrize("uri", ["ftp://me:secret@host/x", "rtmp://h/x", "//host:99/x.mp4", ""])
def test_addresses_that_lead_nowhere(uri: str) -> None:
    pytest.importorskip("cv2")

    with pytest.raises(CameraError, match=r"Cannot open .* expected ") as caught:
        open_camera(uri)
    assert "secret" not in str(caught.value)


def test_a_name_is_the_address_without_its_secrets_or_what_one_gives() -> None:
    pytest.importorskip("cv2")

    with open_camera("http://me:secret@127.0.0.1:1/x?token=abc&fps=3") as camera:
        assert camera.name == "http://***@127.0.0.1:1/x?***&fps=3"
    with open_camera("synthetic://", name="door") as camera:
        assert camera.name == "door"


@pytest.mark.parametrize(
    ("uri", "mode"),
    [
        ("synthetic://?fps=5", "newest"),
        ("synthetic://?fps=0", "every-frame"),
        ("http://127.0.0.1:1/x", "newest"),
        ("rtsp://127.0.0.1:1/x", "newest"),
    ],
)
def test_the_mode_depends_on_whether_it_is_live(uri: str, mode: str) -> None:
    pytest.importorskip("cv2")

    with open_camera(uri) as camera:
        assert camera.mode == mode


def test_an_unknown_mode() -> None:
    mode: Any = "oldest"

    with pytest.raises(ValueError, match="expected"):
        open_camera("synthetic://", mode=mode)


@pytest.mark.parametrize("password", ["p#ss", "p/ss", "p?ss", "p%23s#s", "#"])
def test_a_sign_that_ends_the_address_too_early(password: str) -> None:
    with pytest.raises(CameraError, match="ends the address too early") as raised:
        open_camera(f"rtsp://admin:{password}@camera/stream")
    assert password not in str(raised.value).replace("expected #, /, ? and @", "")


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://admin:p%23ss@camera:554/stream",
        "rtsp://camera:554/user=admin&password=a@b&stream=0",
        "rtsp://camera/profile?x=a@b",
        "rtsp://[fe80::1]:554/stream@1",
    ],
)
def test_addresses_that_only_look_like_it(uri: str) -> None:
    from snow_runtime.cameras.uri import parse, refuse_unescaped

    refuse_unescaped(parse(uri))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("0", "For a USB camera give /dev/video0."),
        ("12", "For a USB camera give /dev/video12."),
        ("video3", "For a USB camera give /dev/video3."),
        ("192.168.1.9:554/stream", "such as rtsp://192.168.1.9:554/stream."),
        ("cam.example:8080", "such as rtsp://cam.example:8080."),
        ("no/such.mp4", "Check the path."),
        ("nosuch.mp4", "Check the path."),
    ],
)
def test_what_was_likely_meant_by_a_path_where_nothing_is(path: str, said: str) -> None:
    with pytest.raises(CameraError, match="there is no such file") as caught:
        open_camera(path)
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize(
    ("uri", "read"),
    [
        ("RTSP://camera/a", "rtsp://camera/a"),
        ("rtsp://u:p@ss@camera:554/a?b=c@d", "rtsp://u:p@ss@camera:554/a?b=c@d"),
        ("rtsp://u:p%25w@[fe80::1%25eth0]:554/%25", "rtsp://u:p%25w@[fe80::1%eth0]:554/%25"),
        ("rtsps://[fe80::1%eth0]", "rtsps://[fe80::1%eth0]"),
        ("rtsp://camera:/a", "rtsp://camera:/a"),
    ],
)
def test_an_rtsp_address_is_written_as_its_reader_knows_it(uri: str, read: str) -> None:
    from snow_runtime.cameras.uri import parse, rtsp_target

    assert rtsp_target(parse(uri)) == read


@pytest.mark.parametrize(
    "uri",
    ["rtsp:///a", "rtsp://u:secret@/a", "rtsp://camera:99999/a", "rtsp://camera:0", "rtsp://"],
)
def test_an_rtsp_address_that_leads_nowhere_is_not_tried(uri: str) -> None:
    with pytest.raises(CameraError, match="there is no host") as caught:
        open_camera(uri)
    assert "secret" not in str(caught.value)
