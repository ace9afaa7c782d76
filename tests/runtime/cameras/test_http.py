"""Passwords, redirections and certificates, against servers that check them themselves."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.cameras import CameraOptions, open_camera
from snow_runtime.errors import CameraError, MissingDependencyError
from snow_runtime.install_hint import pip_install
from tests.runtime.cameras.certificates import make_certificate
from tests.runtime.cameras.eventually import eventually
from tests.runtime.cameras.mjpeg_server import Client, MjpegServer
from tests.runtime.cameras.scripted import FastClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("requests")
pytest.importorskip("simplejpeg")

OPTIONS = CameraOptions(open_timeout_s=5, stall_s=5, close_timeout_s=2)
ONCE = replace(OPTIONS, attempts=1)
LOGIN = "jürgen:p%40s%3As%2Fw%23rd%2541%3F"
USER, PASSWORD = "jürgen", "p@s:s/w#rd%41?"


def logged_in(uri: str) -> str:
    return uri.replace("//", f"//{LOGIN}@")


def answer(client: Client, code: int, *headers: str, body: bytes = b"") -> None:
    head = "".join(f"{header}\r\n" for header in headers)
    client.send(f"HTTP/1.1 {code} X\r\n{head}\r\n".encode() + body)


def authorization(request: bytes) -> str:
    found = re.search(rb"\r\nAuthorization: (.*?)\r\n", request)
    return found[1].decode() if found else ""


def digest_is_right(request: bytes, name: str, nonce: str) -> bool:
    """Check an answer to a challenge as RFC 7616 has it, section 3.4."""
    scheme, _, rest = authorization(request).partition(" ")
    given = dict(re.findall(r'(\w+)="?([^",]*)"?', rest))
    if scheme != "Digest" or given["nonce"] != nonce or given["username"] != USER:
        return False

    def hashed(*parts: str) -> str:
        text = ":".join(parts).encode()
        return hashlib.new({"MD5": "md5", "SHA-256": "sha256"}[name], text).hexdigest()

    uri = request.split(b" ")[1].decode()
    assert given["uri"] == uri
    secret, what = hashed(USER, "a camera", PASSWORD), hashed("GET", uri)
    with_qop = (given["nc"], given["cnonce"], given["qop"]) if "qop" in given else ()
    return bool(given["response"] == hashed(secret, nonce, *with_qop, what))


CHALLENGES = {
    "MD5": ('WWW-Authenticate: Digest realm="a camera", nonce="abc", qop="auth"',),
    "MD5 without qop": ('WWW-Authenticate: Digest realm="a camera", nonce="abc"',),
    "MD5 in two": (
        'WWW-Authenticate: Basic realm="a camera"',
        'WWW-Authenticate: digest realm="a camera",nonce="abc",algorithm=MD5,qop="auth,auth-int"',
    ),
    "SHA-256": (
        'WWW-Authenticate: Digest realm="a camera", nonce="abc", algorithm=SHA-256, qop="auth"',
    ),
}


@pytest.mark.parametrize("kind", CHALLENGES)
def test_digest(kind: str) -> None:
    def ask(client: Client) -> None:
        if digest_is_right(client.request, kind.split(maxsplit=1)[0], "abc"):
            client.stream()
        else:
            answer(client, 401, *CHALLENGES[kind])

    with (
        MjpegServer(ask) as server,
        open_camera(logged_in(server.uri) + "?a=1&b=%2F", options=OPTIONS) as camera,
    ):
        assert camera.read(5) is not None
        # The password itself never travels, and there is no attempt without being asked.
        assert [authorization(request)[:6] for request in server.requests] == ["", "Digest"]


@pytest.mark.parametrize("challenge", ['WWW-Authenticate: Basic realm="Digest camera"', "X: y"])
def test_basic(challenge: str) -> None:
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def ask(client: Client) -> None:
        if authorization(client.request) == wanted:
            client.stream()
        else:
            answer(client, 401, challenge)

    with (
        MjpegServer(ask) as server,
        open_camera(logged_in(server.uri), options=OPTIONS) as camera,
    ):
        assert camera.read(5) is not None
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("challenge", "said", "requests"),
    [
        ('Digest realm="a camera", nonce="abc"', "The user or the password is wrong", 2),
        ('Basic realm="a camera"', "The user or the password is wrong", 2),
        ("Digest realm=x", "answered 401", 1),  # no nonce: nothing can be answered
        ("NTLM", "Only Basic and Digest are known here", 1),
        ("", "answered 401 and asks for 'nothing'", 2),
    ],
)
def test_a_password_is_tried_once(challenge: str, said: str, requests: int) -> None:
    headers = [f"WWW-Authenticate: {challenge}"] if challenge else []
    with MjpegServer(lambda client: answer(client, 401, *headers)) as server:
        camera = open_camera(logged_in(server.uri), options=OPTIONS)
        with camera, pytest.raises(CameraError, match=said) as caught:
            camera.read(5)
        assert (camera.status.state, camera.status.code) == ("failed", 401)
        assert len(server.requests) == requests
    assert "p@s" not in str(caught.value)


def test_without_a_password_one_is_asked_for() -> None:
    with MjpegServer(lambda client: answer(client, 401, "WWW-Authenticate: Basic r=x")) as server:
        camera = open_camera(server.uri, options=OPTIONS)
        with camera, pytest.raises(CameraError, match="Give a user and password"):
            camera.read(5)
        assert len(server.requests) == 1


def test_a_refusal_with_an_endless_text() -> None:
    def refuse(client: Client) -> None:
        answer(client, 401, "WWW-Authenticate: Basic realm=x")
        while client.pause(0):
            client.send(bytes(1 << 16))

    with MjpegServer(refuse) as server:
        camera = open_camera(logged_in(server.uri), options=OPTIONS)
        with camera, pytest.raises(CameraError, match="answered 401"):
            camera.read(5)


def test_what_a_camera_has_not_is_told_until_it_has() -> None:
    with (
        MjpegServer(lambda client: answer(client, 404)) as server,
        open_camera(server.uri, options=OPTIONS, clock=FastClock()) as camera,
    ):
        eventually(lambda: camera.status.code == 404)
        assert camera.status.state == "connecting"
        assert "check the path" in str(camera.status.error)
        server.behave = Client.stream
        assert camera.read(5) is not None
        assert camera.status.code is None


def moving(location: Callable[[], str], code: int = 302) -> Any:
    def behave(client: Client) -> None:
        if client.request.startswith(b"GET /video "):
            answer(client, code, f"Location: {location()}")
        else:
            client.stream()

    return behave


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirection_within_the_host_is_followed(code: int) -> None:
    with (
        MjpegServer(moving(lambda: "/live/1?x=2", code)) as server,
        open_camera(server.uri, options=OPTIONS) as camera,
    ):
        assert camera.read(5) is not None
        assert server.requests[1].startswith(b"GET /live/1?x=2 HTTP/1.1\r\n")


def test_a_redirection_to_another_port_takes_the_password_along() -> None:
    def ask(client: Client) -> None:
        if authorization(client.request):
            client.stream()
        else:
            answer(client, 401, 'WWW-Authenticate: Digest realm="a camera", nonce="abc"')

    with (
        MjpegServer(ask) as there,
        MjpegServer(moving(lambda: there.uri)) as here,
        open_camera(logged_in(here.uri), options=OPTIONS) as camera,
    ):
        assert camera.read(5) is not None


def test_no_other_host_is_asked() -> None:
    with MjpegServer() as there:
        other = f"http://bob:sesame99@localhost:{there.port}/live?token=abcdef"
        with MjpegServer(moving(lambda: other)) as here:
            camera = open_camera(logged_in(here.uri), options=ONCE)
            said = rf"302.*Give 'http://\*\*\*@localhost:{there.port}/live\?\*\*\*'"
            with camera, pytest.raises(CameraError, match=said) as caught:
                camera.read(5)
            assert camera.status.code == 302
        assert there.requests == []
    assert not re.search("sesame|abcdef", str(caught.value))


@pytest.mark.parametrize("place", ["/video", "ftp://127.0.0.1/x", "http://[", "//", "http://:0/"])
def test_a_redirection_that_leads_nowhere(place: str) -> None:
    with MjpegServer(moving(lambda: place)) as server:
        camera = open_camera(server.uri, options=ONCE)
        with camera, pytest.raises(CameraError, match=r"answered 302|cannot be opened"):
            camera.read(5)
        assert len(server.requests) <= 6


def test_a_redirection_to_where_nobody_is() -> None:
    with MjpegServer() as gone:
        pass
    place = f"http://u:sesame99@127.0.0.1:{gone.port}/x?token=abcdef"
    with MjpegServer(moving(lambda: place)) as server:
        camera = open_camera(server.uri, options=ONCE)
        said = rf"points to 'http://127.0.0.1:{gone.port}/x\?\*\*\*', which cannot be opened"
        with camera, pytest.raises(CameraError, match=said):
            camera.read(5)


def test_neither_a_proxy_nor_a_netrc_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password sesame99\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with MjpegServer() as server, open_camera(server.uri, options=OPTIONS) as camera:
        assert camera.read(5) is not None
        assert authorization(server.requests[0]) == ""


def test_an_address_with_a_zone() -> None:
    try:
        server = MjpegServer(host="::1")
    except OSError:
        pytest.skip("there is no IPv6 here")
    with server:
        for zone in ("%1", "%251"):
            uri = f"http://[::1{zone}]:{server.port}/video"
            with open_camera(uri, options=OPTIONS) as camera:
                assert camera.read(5) is not None
    host = f"\r\nHost: [::1]:{server.port}\r\n".encode()
    assert [host in request for request in server.requests] == [True, True]


def test_without_requests_the_pip_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(MissingDependencyError, match=re.escape(pip_install("camera"))):
        open_camera("http://h/x")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key, for a name that no camera here has."""
    path = tmp_path_factory.mktemp("tls") / "camera.pem"
    name = "cam-4711.example"
    return make_certificate(path, name, f"DNS:{name}")


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate)
    return found


def fingerprint(certificate: Path) -> str:
    pem = certificate.read_text()
    der = base64.b64decode("".join(pem.partition("BEGIN CERTIFICATE-----")[2].split("-----")[0]))
    return hashlib.sha256(der).hexdigest()


def test_a_certificate_is_accepted_by_its_fingerprint(
    certificate: Path, context: ssl.SSLContext
) -> None:
    digits = fingerprint(certificate)
    colons = ":".join(digits[at : at + 2] for at in range(0, 64, 2)).upper()
    with MjpegServer(context=context) as server:
        camera = open_camera(server.uri, options=ONCE)
        with camera, pytest.raises(CameraError, match=digits):  # so that it can be compared
            camera.read(5)
        assert server.requests == []
        for given in (digits, colons):
            options = replace(OPTIONS, tls_fingerprint=given)
            with open_camera(server.uri, options=options) as accepted:
                assert accepted.read(5) is not None


def test_no_other_certificate_than_the_pinned_one(context: ssl.SSLContext) -> None:
    options = replace(ONCE, tls_fingerprint="ab" * 32)
    with MjpegServer(context=context) as server:
        camera = open_camera(logged_in(server.uri), options=options)
        with camera, pytest.raises(CameraError, match=r"Fingerprints did not match.*tls-fing"):
            camera.read(5)
        assert server.requests == []


def test_a_certificate_for_another_name(
    certificate: Path, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with MjpegServer(context=context) as server:
        camera = open_camera(server.uri, options=ONCE)
        with camera, pytest.raises(CameraError, match="--tls-host"):
            camera.read(5)
        with open_camera(server.uri, options=replace(OPTIONS, tls_host="cam-4711.example")) as good:
            assert good.read(5) is not None
        bad = open_camera(server.uri, options=replace(ONCE, tls_host="cam-4712.example"))
        with bad, pytest.raises(CameraError, match="certificate"):
            bad.read(5)


def test_a_redirection_does_not_give_up_tls(certificate: Path, context: ssl.SSLContext) -> None:
    options = replace(ONCE, tls_fingerprint=fingerprint(certificate))
    with MjpegServer() as plain, MjpegServer(moving(lambda: plain.uri), context=context) as server:
        camera = open_camera(server.uri, options=options)
        with camera, pytest.raises(CameraError, match="answered 302"):
            camera.read(5)
        assert plain.requests == []
    with (
        MjpegServer(context=context) as secure,
        MjpegServer(moving(lambda: secure.uri)) as server,
        open_camera(server.uri, options=options) as camera,
    ):
        assert camera.read(5) is not None
