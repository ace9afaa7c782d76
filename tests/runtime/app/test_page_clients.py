from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from snow_runtime.app.page import Limits, PageServer
from snow_runtime.errors import InputError
from tests.runtime.app.asking import (
    ALL_ADDRESSES,
    JSON,
    TOKEN,
    answer_to,
    answered,
    ask,
    connected,
    followed,
    narrow,
    port_of,
    raw,
    served,
    status,
)
from tests.runtime.app.conftest import Scene, until


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000,
        b"x" * 40_000,
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_malformed_is_refused(
    page: PageServer, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with raw(page) as client, suppress(ConnectionError):  # it may close before it has read all
        client.sendall(sent)
        assert answered(client) == 400
        assert client.recv(1) == b""
    assert status(page, "/healthz") == 200
    assert caplog.records == []


def test_a_body_in_pieces(scene: Scene, page: PageServer) -> None:
    head = (
        b"POST /tasks/shape HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answer = answer_to(page, head + b'4\r\n{"on\r\n9\r\n": false}\r\n0\r\n\r\n')
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert scene.live.hidden == {"shape"}
    many = b"400\r\n" + b" " * 1024 + b"\r\n"
    assert answer_to(page, head + many * 5 + b"0\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_large_body_is_refused_and_the_client_learns_why(page: PageServer) -> None:
    response, text = ask(page, "POST", "/tasks/shape", " " * 500_000, **JSON)

    assert response.status == 413
    assert b"4096" in text


def test_methods(page: PageServer) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "POST"):
        response, _ = ask(page, method, "/")
        assert response.status == 405
        assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}
    assert ask(page, "GET", "/tasks/shape")[0].headers["Allow"] == "POST"


def test_a_head_is_an_answer_without_its_body(scene: Scene, page: PageServer) -> None:
    scene.put()
    for path in ("/", "/healthz", "/metrics", "/static/page.js", "/frame/front.jpg", "/no"):
        whole = status(page, path)
        head = answer_to(page, HEAD.format(path).encode())
        assert head.startswith(f"HTTP/1.1 {whole} ".encode())
        assert head.endswith(b"\r\n\r\n")
    assert b"text/event-stream" in answer_to(page, HEAD.format("/events").encode())


def test_there_is_nothing_else(page: PageServer) -> None:
    for path in (
        "/static",
        "/static/",
        "/static/../routes.py",
        "/static/%2e%2e/routes.py",
        "/static/..%2froutes.py",
        "/static/%2fetc%2fpasswd",
        "/frame/",
        "/frame/..%2f..%2fx.jpg",
        "/frame/front.png",
        "//",
        "/page.html",
    ):
        assert status(page, path) == 404, path


def test_who_closes_its_end_is_still_answered(
    scene: Scene, page: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr("snow_runtime.app.previews.encode", lambda *_: goes_on.wait(10) and b"jpeg")
    scene.put()
    with raw(page) as client, raw(page) as half:
        half.sendall(b"POST /tasks/shape HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        client.sendall(b"GET /frame/front.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        for each in (client, half):
            each.shutdown(socket.SHUT_WR)
        until(lambda: len(served(page)) == 1)  # the other one cannot be answered
        goes_on.set()
        assert b"".join(iter(lambda: client.recv(4096), b"")).count(b"\r\n\r\njpeg") == 2
    until(lambda: not served(page))


def test_many_requests_on_one_connection(scene: Scene, page: PageServer) -> None:
    scene.put()
    with connected(page) as connection:
        for path in ("/", "/frame/front.jpg", "/nothing", "/healthz"):
            connection.request("GET", path)
            sock = connection.sock
            response = connection.getresponse()
            response.read()
            assert connection.sock is sock is not None
            assert response.status == (404 if path == "/nothing" else 200)
    old = answer_to(page, b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert b"\r\n\r\nok\n" in old
    split = answer_to(
        page,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    assert split.count(b"ok\n") == 2


HEAD = "HEAD {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POSTED = b"POST /tasks/shape HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),  # slowloris
        (POSTED + b"Content-Length: 900\r\n\r\n{", b" "),
        (POSTED + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /h", b"x"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n", b"x"),
    ],
    ids=["nothing", "a line", "headers", "a body", "pieces", "a second one", "a body of no use"],
)
def test_a_slow_request_is_cut_off(
    scene: Scene, begun: bytes, more: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with scene.page(limits=Limits(request_s=0.3)) as page, raw(page) as slow:
        slow.sendall(begun)
        with pytest.raises(OSError, match=r"reset|Broken pipe|is closed"):  # noqa: PT012
            while True:  # something new again and again
                time.sleep(0.02)
                slow.sendall(more)
                slow.settimeout(0.02)
                with suppress(TimeoutError):
                    while data := slow.recv(1 << 16):
                        assert data.startswith(b"HTTP/1.1 200 ")
                    msg = "it is closed"
                    raise ConnectionError(msg)
        assert status(page, "/healthz") == 200
    assert caplog.records == []


@pytest.mark.parametrize("path", ["/static/page.css", "/frame/front.jpg?width=1280", "/events"])
def test_a_client_that_takes_nothing_is_dropped(moving: Scene, path: str) -> None:
    wanted = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    moving.labels = {f"a task of many {'words ' * 200}{number}": ["x"] for number in range(20)}
    with moving.page(limits=Limits(write_s=0.3)) as page, ExitStack() as stack:
        slow = [stack.enter_context(narrow(page)) for _ in range(5)]
        for client in slow:  # they ask, and read none of it
            client.sendall(wanted * (1 if path == "/events" else 200))
        with followed(page) as stream:
            until(lambda: next(stream) and len(served(page)) == 1, 20)
            answered = moving.stats.snapshot()["frames"]["front"]
            until(lambda: next(stream)[1]["stats"]["frames"]["front"] > answered)  # it goes on
        assert status(page, "/healthz") == 200


def test_what_waits_for_slow_clients_is_bounded(moving: Scene) -> None:
    moving.labels = {f"a task of many {'words ' * 400}{number}": ["x"] for number in range(20)}
    with moving.page(limits=Limits(write_s=60)) as page, ExitStack() as stack:
        for _ in range(10):
            slow = stack.enter_context(narrow(page))
            slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with followed(page) as stream:
            sizes = [len(json.dumps(next(stream)[1])) for _ in range(15)]
        waiting = [connection.transport.get_write_buffer_size() for connection in served(page)]
    assert sorted(waiting)[-10] > 0  # they take nothing
    assert max(waiting) <= 2 * max(sizes)  # and one event waits for each, not fifteen


def test_twenty_viewers(moving: Scene) -> None:
    with moving.page() as page, ExitStack() as stack:
        streams = [stack.enter_context(followed(page)) for _ in range(20)]
        for stream in streams:
            assert next(stream)[0] == "history"
            assert next(stream)[0] == "state"
        for stream in streams:
            first, second = (next(stream)[1]["cameras"][0]["answer"] for _ in range(2))
            assert first["frame"] < second["frame"]
        assert status(page, "/frame/front.jpg") == 200


def test_no_more_viewers_than_allowed(scene: Scene) -> None:
    with scene.page(limits=Limits(viewers=2)) as page:
        with followed(page) as one, followed(page) as two:
            assert next(one)[0] == next(two)[0] == "history"
            response, text = ask(page, "GET", "/events")
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
            assert b"2 viewers" in text
        until(lambda: try_to_follow(page))  # those who left made room


def try_to_follow(page: PageServer) -> bool:
    with connected(page) as connection:
        connection.request("GET", "/events")
        return connection.getresponse().status == 200


def test_who_asks_for_nothing_makes_room(scene: Scene) -> None:
    with scene.page(limits=Limits(connections=3)) as page, ExitStack() as stack:
        idle = [stack.enter_context(raw(page)) for _ in range(3)]
        for client in idle:  # each is known to the page
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answered(client) == 200
        assert status(page, "/healthz") == 200
        assert idle[0].recv(4096) == b""  # who has been idle for the longest time


def test_a_flood_of_connections(moving: Scene) -> None:
    with moving.page(limits=Limits(connections=8)) as page, ExitStack() as stack:
        stream = stack.enter_context(followed(page))
        for _ in range(200):  # they ask for nothing, or for half of something
            stack.enter_context(raw(page)).sendall(b"GET / HT")
        assert status(page, "/healthz") == 200
        until(lambda: len(served(page)) <= 8)
        first = next(stream)
        assert first[0] == "history"
        assert next(stream)[0] == "state"


def test_all_connections_in_use(scene: Scene) -> None:
    with scene.page(limits=Limits(connections=2)) as page, ExitStack() as stack:
        for _ in range(2):
            assert next(stack.enter_context(followed(page)))[0] == "history"
        assert answer_to(page, b"").startswith(b"HTTP/1.1 503 ")
        assert answer_to(page, b"").startswith(b"HTTP/1.1 503 ")


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("snow-")}


def test_it_stops_within_a_second_and_leaves_nothing(moving: Scene) -> None:
    page = moving.page()
    page.start()
    with ExitStack() as stack:
        streams = [stack.enter_context(followed(page)) for _ in range(5)]
        stack.enter_context(raw(page))
        until(lambda: status(page, "/frame/front.jpg") == 200)
        assert [next(stream)[0] for stream in streams] == ["history"] * 5
        assert threads()
        began = time.monotonic()
        page.stop()
        assert time.monotonic() - began < 1
        assert not threads()
        with suppress(OSError):  # reset, or ended
            assert sum(1 for _ in streams[0]) < 50
    page.stop()


def test_it_starts_again_on_its_port(scene: Scene) -> None:
    page = scene.page()
    for _ in range(3):
        with page:
            url = page.url
            with followed(page) as stream:
                assert next(stream)[0] == "history"
        assert page.url == url
        with pytest.raises(OSError, match="refused"):
            status(page, "/healthz")


def test_starting_twice_is_starting_once(scene: Scene) -> None:
    with scene.page() as page:
        url = page.url
        page.start()
        assert page.url == url
        assert len(threads()) == 1


def test_a_start_that_fails_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    page = scene.page()
    with monkeypatch.context() as broken:
        broken.setattr("snow_runtime.app.page.server.Site", None)
        with pytest.raises(TypeError, match="not callable"):
            page.start()
        broken.undo()
        broken.setattr("asyncio.base_events.BaseEventLoop.create_server", None)
        with pytest.raises(TypeError, match="not callable"):
            page.start()
        assert threads() == set()
    with page:
        assert status(page, "/healthz") == 200


def test_a_port_in_use(scene: Scene, page: PageServer) -> None:
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port_of(page)}: .*in use.*another port"):
        scene.page(port=port_of(page)).start()
    with pytest.raises(InputError, match="cannot be served"):
        scene.page(host="no.such.host.invalid", token=TOKEN).start()
    with pytest.raises(InputError, match="cannot be served"):
        scene.page(host="x" * 70, token=TOKEN).start()
    for port in (-1, 65_536):
        with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}: .*0-65535"):
            scene.page(port=port).start()
    assert threads() == {"snow-http"}


def test_the_addresses_to_open(scene: Scene) -> None:
    assert scene.page(port=8080).url == scene.page(port=8080).entry_url == "http://127.0.0.1:8080/"
    assert scene.page(host="localhost", port=80).url == "http://localhost:80/"
    assert scene.page(host="::1", port=81).url == "http://[::1]:81/"
    with scene.page(host=ALL_ADDRESSES, token=TOKEN) as page:
        assert ALL_ADDRESSES not in page.url
        assert status(page, "/", Host="any.name", Authorization=f"Bearer {TOKEN}") == 200


def test_it_is_served_over_ipv6(scene: Scene) -> None:
    page = scene.page(host="::1")
    try:
        page.start()
    except InputError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with page, socket.create_connection(("::1", port_of(page)), timeout=10) as client:
        client.sendall(f"GET / HTTP/1.0\r\nHost: [::1]:{port_of(page)}\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert threads() == set()
