from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.errors import InputError
from snow_runtime.secret_references import holds_password, resolve_secrets

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = st.text(st.characters(exclude_characters="\0\r\n", codec="utf-8"), min_size=1)


@given(secret=SECRETS)
def test_any_secret_arrives_whole_in_an_address(
    secret: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "secret"
    path.write_text(secret + "\n", encoding="utf-8")

    address = resolve_secrets(f"rtsp://admin:{{file:{path}}}@host/stream", escape=True)

    parts = urlsplit(address)
    assert (parts.username, parts.hostname, parts.path) == ("admin", "host", "/stream")
    assert unquote(parts.password or "") == secret
    assert resolve_secrets(f"{{file:{path}}}", escape=False) == secret


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_USER", "me")
    monkeypatch.setenv("MQTT_PASSWORD", "a@b/c")
    text = resolve_secrets("mqtt://{env:MQTT_USER}:{env:MQTT_PASSWORD}@host/topic", escape=True)
    assert text == "mqtt://me:a%40b%2Fc@host/topic"


@pytest.mark.parametrize("text", ["rtsp://host/{stream}", "pictures/{0}", "a{}b", "{ENV:HOME}"])
def test_other_braces_stay(text: str) -> None:
    assert resolve_secrets(text, escape=True) == text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"one\ntwo\n", "several lines"),
        (b"\xff\xfe", "no text in UTF-8"),
        (b"x" * (65 << 10), "larger than 64 KiB"),
        (None, "cannot be read"),
    ],
)
def test_files_that_hold_no_secret(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as raised:
        resolve_secrets(f"rtsp://a:{{file:{path}}}@host", escape=True)
    assert str(path) in str(raised.value)
    assert "two" not in str(raised.value)


def test_a_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(InputError, match=r"\{env:NOWHERE\} names a variable that is not set"):
        resolve_secrets("{env:NOWHERE}", escape=False)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("rtsp://admin:secret@host/stream", True),
        ("rtsp://admin:{env:A}@host/stream", False),
        ("rtsp://admin:{file:/run/a@b}@host/stream", False),
        ("rtsp://admin:half{env:A}@host/stream", True),
        ("rtsp://admin@host/stream", False),
        ("rtsp://host:554/stream", False),
        ("mqtt://me:secret@host", True),
        ("rtsp://host/user=admin_password=tlJw_channel=1", True),
        ("rtsp://host/user=admin&password={env:A}&channel=1", False),
        ("https://host?Token=abc", True),
        ("https://host/video?token={file:/run/t}", False),
        ("https://host/video?width=640&passes=2", False),
        ("pictures/token=a", False),
        ("pictures/a:b@c", False),
        ("/dev/video0", False),
    ],
)
def test_passwords_that_everybody_can_read(address: str, expected: bool) -> None:
    assert holds_password(address) is expected
