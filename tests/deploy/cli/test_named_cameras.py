from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from snow_deploy.cli.named_cameras import named_cameras, options_by_camera

if TYPE_CHECKING:
    from pathlib import Path


def test_names_and_addresses() -> None:
    given = ["door=rtsp://h/x?a=b", "http://h/y?a=b", "küche_2=/dev/video0", "a=b.mp4", "c.mp4"]

    assert named_cameras(given) == [
        ("door", "rtsp://h/x?a=b"),
        ("camera1", "http://h/y?a=b"),
        ("küche_2", "/dev/video0"),
        ("a", "b.mp4"),
        ("camera4", "c.mp4"),
    ]


@pytest.mark.parametrize("name", ["front door", "cam.1", "a b.c", "", "tür!", "a,b"])
@pytest.mark.parametrize("uri", ["rtsp://h/x", "/dev/video0", "./x.mp4", "file:x.mp4", "csi://0"])
def test_what_cannot_be_a_name_is_said_to_be_none(name: str, uri: str) -> None:
    with pytest.raises(click.UsageError, match="letters, digits, _ and - alone") as caught:
        named_cameras([f"{name}={uri}"])
    assert repr(name) in str(caught.value)


def test_a_file_may_have_such_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b=").mkdir()
    (tmp_path / "a b=" / "x.mp4").write_bytes(b"")

    assert named_cameras(["a b=/x.mp4"]) == [("camera0", "a b=/x.mp4")]


def test_a_certificate_belongs_to_a_camera() -> None:
    found = options_by_camera(["a", "b"], [f"b={'ab' * 32}"], ["a=cam.example"])

    assert (found["a"].tls_fingerprint, found["a"].tls_host) == (None, "cam.example")
    assert (found["b"].tls_fingerprint, found["b"].tls_host) == ("ab" * 32, None)
    assert options_by_camera(["a"], ["AB:" * 31 + "AB"], [])["a"].tls_fingerprint is not None


@pytest.mark.parametrize(
    ("names", "given", "said"),
    [
        (["a", "b"], "ab" * 32, "is for no camera, expected NAME=VALUE with a name of a, b"),
        (["a"], "c=" + "ab" * 32, "is for no camera"),
        (["a"], "a=", "is for no camera"),
        (["a"], "abcd", "expected the 64 hexadecimal digits of a SHA-256"),
    ],
)
def test_a_fingerprint_that_fits_nothing(names: list[str], given: str, said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        options_by_camera(names, [given], [])


def test_a_file_beside_it_may_be_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.mp4").write_bytes(b"")

    with pytest.raises(click.UsageError, match=r"cannot be named 'cam\.1'"):
        named_cameras(["cam.1=x.mp4"])
    assert named_cameras(["cam.1=y.mp4"]) == [("camera0", "cam.1=y.mp4")]
