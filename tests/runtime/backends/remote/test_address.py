from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from snow_runtime.backends.remote.address import RemoteOptions, is_remote, parse_remote
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "target", "model", "version", "shown"),
    [
        ("grpc://box/door", "box:8001", "door", None, "grpc://box:8001/door"),
        ("GRPC://Box:9/door/2", "box:9", "door", "2", "grpc://box:9/door/2"),
        ("grpcs://[::1]:9/a.b", "[::1]:9", "a.b", None, "grpcs://[::1]:9/a.b"),
        ("grpc://10.0.0.7/my%20door", "10.0.0.7:8001", "my door", None, None),
    ],
)
def test_an_address(
    text: str, target: str, model: str, version: str | None, shown: str | None
) -> None:
    found = parse_remote(text)
    assert is_remote(text)
    assert (found.target, found.model, found.version) == (target, model, version)
    assert found.tls == text.startswith("grpcs")
    assert shown in (str(found), None)


@pytest.mark.parametrize(
    "text",
    [
        *("grpc://", "grpc://box", "grpc://box/", "grpc:///door", "grpc://box/door/0"),
        *("grpc://box/door/1/2", "grpc://box/door/x", "grpc://box:x/door", "grpc://box/door/01"),
        *("grpc://box:70000/door", "grpc://user@box/door", "grpc://box/door#1", "http://box/door"),
        *("grpc://[::1/door", "snow.onnx", "grpc://box//1"),
    ],
)
def test_what_is_no_address_says_how_one_looks(text: str) -> None:
    with pytest.raises(InputError, match=r"expected grpc://HOST\[:PORT\]/MODEL"):
        parse_remote(text)


def test_what_stands_behind_it_goes_before_the_options() -> None:
    options = RemoteOptions(timeout_s=3, ca="a.pem", tls_host="a")
    found = parse_remote("grpcs://box/door?timeout=0.5&ca=b%2Fc.pem", options).options
    assert (found.timeout_s, found.ca, found.tls_host) == (0.5, "b/c.pem", "a")
    found = parse_remote("grpcs://box/door?cert=c&key=k&tls-host=h").options
    assert (found.certificate, found.key, found.tls_host) == ("c", "k", "h")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grpc://box/door?tiemout=1", "says 'tiemout' after its question mark"),
        ("grpc://box/door?timeout=1&timeout=2", "says 'timeout'"),
        ("grpc://box/door?timeout=", "says 'timeout'"),
        ("grpc://box/door?timeout=soon", "no number of seconds"),
        ("grpc://box/door?timeout=0", "expected more than 0"),
        ("grpc://box/door?timeout=nan", "expected more than 0"),
        ("grpc://box/door?timeout=inf", "expected more than 0"),
        ("grpc://box/door?ca=a.pem", "has no TLS"),
        ("grpc://box/door?token=abc", "has no TLS"),
        ("grpcs://box/door?cert=a.pem", "one of cert and key"),
    ],
)
def test_what_stands_behind_it_is_checked(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_remote(text)


def test_a_token_is_read_where_it_lies_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SNOW_TEST_TOKEN", "s&cret/x")
    found = parse_remote("grpcs://box/door?token={env:SNOW_TEST_TOKEN}")
    assert found.options.token == os.environ["SNOW_TEST_TOKEN"]
    (tmp_path / "token").write_text(f"{found.options.token}\n")
    options = RemoteOptions(token=f"{{file:{tmp_path / 'token'}}}")
    assert parse_remote("grpcs://box/door", options).options.token == found.options.token
    for text in (repr(found), str(found)):
        assert "cret" not in text
    with pytest.raises(InputError) as caught:
        parse_remote("grpc://me:hidden@box/door?token=hidden")
    assert "hidden" not in str(caught.value)
    monkeypatch.setenv("SNOW_TEST_TOKEN", "sécret")
    with pytest.raises(InputError, match="expected letters, digits and signs of ASCII") as caught:
        parse_remote("grpcs://box/door?token={env:SNOW_TEST_TOKEN}")
    assert "cret" not in str(caught.value)
    with pytest.raises(InputError, match="names a variable that is not set"):
        parse_remote("grpcs://box/door?token={env:SNOW_NOT_THERE}")
