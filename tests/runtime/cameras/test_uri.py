from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from snow_runtime.cameras.redaction import redact_text, redact_uri
from snow_runtime.cameras.uri import Address, parse, parse_numeric_query
from snow_runtime.errors import CameraError

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=20)
TEMPLATES = st.sampled_from(
    [
        "rtsp://user:{}@camera/stream",
        "rtsp://user:{}@camera:554/stream?channel=1",
        "RTSP://{}@camera/stream",
        "http://user:{}@10.0.0.1:8080/video?fps=5",
        "https://{}:@camera/",
        "user:{}@camera/stream",
    ]
)
QUERIES = st.sampled_from(
    [
        "http://camera/video?token={}",
        "http://camera/video?width=640&key={}&fps=5",
        "rtsp://camera/stream?{}",
        "rtsp://camera/stream?width={}x",
        "rtsp://camera/user=admin_password={}_channel=1",
        "rtsp://camera/stream#{}",
        "camera/video?pwd={}",
    ]
)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://user:pass@camera:554/live", "rtsp://***@camera:554/live"),
        ("rtsp://user@camera/live", "rtsp://***@camera/live"),
        ("rtsp://user:p@ss@camera/live", "rtsp://***@camera/live"),
        ("rtsp://user:p/a?s#s@camera/live", "rtsp://***"),
        ("http://camera/video?token=se@cret", "http://***"),
        ("http://camera/video?token=abc&width=640", "http://camera/video?***&width=640"),
        ("http://camera/video?width=secret", "http://camera/video?***"),
        ("http://camera/video?secret", "http://camera/video?***"),
        ("http://camera/video?a=b#secret", "http://camera/***"),
        ("rtsp://camera/live/user=a&password=b/c?d", "rtsp://camera/***"),
        ("rtsp://camera/dGhlIGtleQ==/live", "rtsp://camera/***"),
        ("synthetic://?width=64&seed=3", "synthetic://?width=64&seed=3"),
        ("csi://0?fps=30", "csi://0?fps=30"),
        ("v4l2:///dev/video0?fourcc=MJPG", "v4l2:///dev/video0?fourcc=MJPG"),
        ("videos/a=b/me@home.mp4", "videos/a=b/me@home.mp4"),
        ("file:///videos/me@home.mp4", "file:///videos/me@home.mp4"),
        ("folder:pictures", "folder:pictures"),
        ("user:pass@camera/live", "***@camera/live"),
        ("", ""),
    ],
)
def test_what_is_shown(uri: str, shown: str) -> None:
    assert redact_uri(uri) == shown


@given(TEMPLATES, SECRETS)
@example("rtsp://user:{}@camera/stream", "@@//??##")
def test_user_and_password_leave_no_trace(template: str, secret: str) -> None:
    shown = redact_uri(template.format(secret))

    if set(secret) & set("/?#"):
        assert shown in (template.partition("://")[0] + "://***", "***")  # the host may be a part
    else:
        assert shown == redact_uri(template.format("another"))


@given(QUERIES, SECRETS)
def test_secrets_in_query_path_and_fragment_leave_no_trace(template: str, secret: str) -> None:
    assert redact_uri(template.format(quote(secret, safe=""))) == redact_uri(
        template.format("another")
    )


@given(QUERIES, SECRETS)
def test_unescaped_secrets_are_not_shown(template: str, secret: str) -> None:
    assume("&" not in secret)  # it ends a value; what follows may look like width=640
    shown = redact_uri(template.format(secret))

    assume(secret not in template)
    assert secret not in shown.replace("***", "\0")


@given(st.text(max_size=60))
def test_anything_can_be_shown_and_parsed(text: str) -> None:
    redact_uri(text)
    with contextlib.suppress(CameraError):
        parse(text)


@given(TEMPLATES | QUERIES, SECRETS, st.sampled_from(["{}", "cannot open '{}': 401", "{}{}"]))
def test_secrets_are_taken_out_of_a_librarys_text(template: str, secret: str, text: str) -> None:
    assume("&" not in secret)
    assume(secret not in template)
    assume(secret not in text)
    uri = template.format(secret)

    scrubbed = redact_text(text.format(uri, uri), uri)

    assert secret not in scrubbed.replace("***", "\0")


def test_a_password_alone_is_taken_out_quoted_or_not() -> None:
    uri = "rtsp://me:p%40ssw0rd@camera/live?token=t0k%2Fen"

    text = redact_text("for me:p%40ssw0rd, p@ssw0rd, t0k%2Fen and t0k/en on camera/live", uri)

    assert text == "for ***, ***, *** and *** on camera/live"


def test_paths_are_no_secrets() -> None:
    assert redact_text("no file /a=b/me@home.mp4", "/a=b/me@home.mp4") == "no file /a=b/me@home.mp4"
    assert redact_text("no file /me@home.mp4", "file:///me@home.mp4") == "no file /me@home.mp4"


@pytest.mark.parametrize(
    ("uri", "scheme", "target"),
    [
        ("video.mp4", "path", "video.mp4"),
        ("a?b=c.mp4", "path", "a?b=c.mp4"),
        ("c:video.mp4", "path", "c:video.mp4"),
        ("file:///a%20b.mp4", "file", "/a b.mp4"),
        ("file:a.mp4", "file", "a.mp4"),
        ("folder:pictures/x", "folder", "pictures/x"),
        ("CSI://1?width=640", "csi", "1"),
        ("rtsp://u:p@h/x?y", "rtsp", "rtsp://u:p@h/x?y"),
    ],
)
def test_an_address_in_parts(uri: str, scheme: str, target: str) -> None:
    address = parse(uri)

    assert (address.scheme, address.target) == (scheme, target)
    assert repr(address) == f"Address({redact_uri(uri)!r})"


@pytest.mark.parametrize("uri", ["", "  ", "a\0b", "csi://0?fps=1&fps=2", "csi://0?fps"])
def test_malformed_addresses(uri: str) -> None:
    with pytest.raises(CameraError, match=r"Cannot open .* expected .*\."):
        parse(uri)


def with_query(**query: str) -> Address:
    return Address("csi", "0", query, "csi://0")


def test_numbers_of_a_query() -> None:
    allowed = {"width": (640, 1, 1000), "fps": (30.0, 0, 60)}

    assert parse_numeric_query(with_query(), allowed) == {"width": 640, "fps": 30.0}
    assert parse_numeric_query(with_query(width="7", fps="2.5"), allowed) == {
        "width": 7,
        "fps": 2.5,
    }
    assert parse_numeric_query(with_query(word="x"), allowed, "word") == {"width": 640, "fps": 30.0}


@pytest.mark.parametrize(
    "query",
    [
        {"width": "7.5"},
        {"width": "0"},
        {"width": "1001"},
        {"width": "many"},
        {"width": ""},
        {"fps": "nan"},
        {"fps": "inf"},
        {"wdith": "7"},
    ],
)
def test_wrong_numbers(query: dict[str, str]) -> None:
    with pytest.raises(CameraError, match=r"expected .* Correct the address"):
        parse_numeric_query(with_query(**query), {"width": (640, 1, 1000), "fps": (30.0, 0, 60)})
