"""Servers and sticks that answer wrongly: nothing follows them, hangs on them, or believes them."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.update import transport as transports
from snow_runtime.update.errors import AbsentError, UnreachableError
from snow_runtime.update.transport import FolderTransport, HttpTransport
from tests.deploy.fleet.publications import agent_of, settle
from tests.deploy.fleet.web_server import QuietServer, WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.deploy.fleet.publications import Publisher

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Any], None]], str]]:
    """Serve what a function answers; it notes the headers of each request in `asked`."""
    servers = []

    def start(answer: Callable[[Any], None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        server = QuietServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(request: Any, status: int, content: bytes = b"", **headers: str) -> None:
    request.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(content))}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(content)


def read(url: str, offset: int = 0) -> bytes:
    return b"".join(HttpTransport(url).read("blobs/x", offset))


def test_no_box_is_sent_to_another_host(serve: Any) -> None:
    """Not with its login, and not without: an address within the box's own network is one too."""
    asked: list[Any] = []

    def elsewhere(request: Any) -> None:
        asked.append(request.headers)
        send(request, 200, CONTENT)

    other = serve(elsewhere)
    url = serve(lambda request: send(request, 302, Location=f"{other}/secret"))
    with pytest.raises(UnreachableError, match="to another host"):
        read(url.replace("://", "://box:hunter22@"))
    assert not asked
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/", "http://user@[", "//127.0.0.1:1/x"):
        url = serve(lambda request, target=target: send(request, 307, Location=target))
        with pytest.raises(UnreachableError):
            read(url)


def test_another_place_of_the_same_host_is_followed(serve: Any) -> None:
    def answer(request: Any) -> None:
        if request.path == "/moved/blobs/x":
            begin = int(request.headers.get("Range", "bytes=0-")[6:-1])
            send(request, 206, CONTENT[begin:], Content_Range=f"bytes {begin}-/*")
        else:
            send(request, 301, Location="/moved/blobs/x")

    url = serve(answer)
    assert read(url) == CONTENT
    assert read(url, 700) == CONTENT[700:]
    circle = serve(lambda request: send(request, 302, Location=request.path))
    with pytest.raises(UnreachableError, match="round in circles"):
        read(circle)


@pytest.mark.parametrize(
    "given", ["", "bytes 0-9/10", "bytes 699-/*", "bytes 7000-7009/10240", "lines 700-"]
)
def test_a_wrong_range_is_not_taken(serve: Any, given: str) -> None:
    url = serve(lambda request: send(request, 206, CONTENT[700:], Content_Range=given))
    with pytest.raises(UnreachableError, match="answers 206"):
        read(url, 700)


@pytest.mark.parametrize("status", [416, 500, 503, 204, 401])
def test_other_answers_are_none(serve: Any, status: int) -> None:
    url = serve(lambda request: send(request, status))
    with pytest.raises(UnreachableError):
        read(url, 700)


def test_what_is_packed_is_called_so(serve: Any) -> None:
    url = serve(lambda it: send(it, 200, gzip.compress(CONTENT), Content_Encoding="gzip"))
    with pytest.raises(UnreachableError, match=r"packs it \(gzip\)"):
        read(url)


def test_a_server_that_drips_is_left(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transports, "_PACE_S", 0.1)
    ended = threading.Event()

    def drip(request: Any) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000000")
        request.end_headers()
        while not ended.is_set():
            try:
                request.wfile.write(b"x")
            except OSError:
                return
            time.sleep(0.01)

    got: list[bytes] = []
    with pytest.raises(UnreachableError, match="gave less than"):
        got.extend(HttpTransport(serve(drip)).read("blobs/x"))
    ended.set()
    assert 0 < len(got) < 1000  # what came is kept: the next look goes on behind it


def test_an_answer_that_ends_early_gives_what_came(serve: Any) -> None:
    def cut(request: Any) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000000")
        request.end_headers()
        request.wfile.write(CONTENT)
        request.close_connection = True

    got: list[bytes] = []
    with pytest.raises(UnreachableError):
        got.extend(HttpTransport(serve(cut)).read("blobs/x"))
    assert b"".join(got) == CONTENT


def test_a_blob_that_changes_in_the_middle_is_got_anew(
    publisher: Publisher, tmp_path: Path
) -> None:
    """The first part is of another file: the hash says so, and the next look begins anew."""
    with WebServer(publisher.place) as server:
        agent = agent_of(tmp_path / "box", server.url, publisher)
        server.faults.cut_after = 30_000
        assert agent.step() == "unreachable"
        (part,) = (tmp_path / "box" / "incoming").glob("*.part")
        part.write_bytes(bytes(part.stat().st_size))
        server.faults.cut_after = None
        assert agent.step() == "untrusted"
        assert settle(agent) == "settled"


def test_a_stick_leads_nowhere_else(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    (stick / "blobs").mkdir(parents=True)
    (tmp_path / "secret").write_text("hunter22", encoding="utf-8")
    (stick / "blobs" / "out").symlink_to(tmp_path / "secret")
    (stick / "blobs" / "circle").symlink_to("circle")
    (stick / "blobs" / "device").symlink_to("/dev/zero")
    (stick / "blobs" / "file").write_bytes(CONTENT)
    (stick / "blobs" / "within").symlink_to("file")
    os.mkfifo(stick / "blobs" / "pipe")  # to open it would wait for ever
    transport = FolderTransport(stick)
    for name in ("out", "circle", "device", "pipe", "../../secret", ""):
        with pytest.raises(UnreachableError):
            list(transport.read(f"blobs/{name}"))
    with pytest.raises(AbsentError):
        list(transport.read("blobs/nothing"))
    assert b"".join(transport.read("blobs/within", 5)) == CONTENT[5:]


def test_a_stick_with_pipes_for_metadata_holds_nothing_up(
    publisher: Publisher, tmp_path: Path
) -> None:
    stick = tmp_path / "stick"
    shutil.copytree(publisher.place, stick)
    (stick / "metadata" / "timestamp.json").unlink()
    os.mkfifo(stick / "metadata" / "timestamp.json")
    assert agent_of(tmp_path / "box", stick, publisher).step() == "unreachable"


@pytest.mark.parametrize(
    ("url", "target", "expected"),
    [
        ("https://h/a/x", "http://h/a/x", ""),  # it would go on in the clear
        ("http://h/a/x", "https://h/b", "https://h/b"),
        ("https://h/a/x", "y", "https://h/a/y"),
        ("https://h/a/x", "https://h:444/a", ""),
        ("https://h/a/x", "https://h.evil/a", ""),
        ("https://h/a/x", "https://h@evil/a", ""),
        ("https://h/a/x", "https://user@h/a", ""),
        ("https://h/a/x", "https://H/a", "https://H/a"),
        ("https://h/a/x", "https://h:x/a", ""),
    ],
)
def test_where_a_redirection_may_lead(url: str, target: str, expected: str) -> None:
    assert transports._followed(url, target) == expected
