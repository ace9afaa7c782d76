from __future__ import annotations

import http.client
import io
import itertools
import json
import logging
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from html.parser import HTMLParser
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

from snow_runtime.app.page import Limits, PageServer, new_token, pictures
from snow_runtime.app.page.access import Guard, is_loopback
from snow_runtime.app.page.board import Board
from snow_runtime.app.page.connection import Faults
from snow_runtime.app.page.wire import Request
from snow_runtime.app.stats import Stats
from snow_runtime.cameras.clock import SYSTEM_CLOCK
from snow_runtime.cameras.frame import Frame
from snow_runtime.errors import InputError
from tests.runtime.app.conftest import HEIGHT, WIDTH, Scene, until

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "correct-horse-battery"  # noqa: S105 - a secret of this file only
JSON = {"Content-Type": "application/json"}
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - only within a test, with a token


@pytest.fixture
def page(scene: Scene) -> Iterator[PageServer]:
    with scene.page() as server:
        yield server


@pytest.fixture
def locked(scene: Scene) -> Iterator[PageServer]:
    with scene.page(token=TOKEN) as server:
        yield server


def port_of(server: PageServer) -> int:
    return urlsplit(server.url).port or 0


@contextmanager
def connected(server: PageServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    server: PageServer, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with connected(server) as connection:
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return response, response.read()


def status(server: PageServer, path: str, **headers: str) -> int:
    return ask(server, "GET", path, **headers)[0].status


def switch(server: PageServer, task: str, on: Any, **headers: str) -> int:
    body = json.dumps({"on": on})
    path = f"/tasks/{quote(task, safe='')}"
    return ask(server, "POST", path, body, **{**JSON, **headers})[0].status


@contextmanager
def raw(server: PageServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as client:
        yield client


def answer_to(server: PageServer, sent: bytes) -> bytes:
    """Send bytes as they are, and read until the page closes the connection."""
    with raw(server) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


@contextmanager
def followed(server: PageServer, **headers: str) -> Iterator[Iterator[tuple[str, Any]]]:
    with connected(server) as connection:
        connection.request("GET", "/events", headers=headers)
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield events(response)
        response.close()


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    while line := response.readline():
        name = re.fullmatch(rb"event: (\w+)\n", line)
        data = re.fullmatch(rb"data: (.+)\n", response.readline())
        assert name
        assert data
        assert response.readline() == b"\n"
        yield name[1].decode(), json.loads(data[1])


# ------------------------------------------------------------------------------------ what it says


def test_events_tell_what_the_loop_said(scene: Scene, page: PageServer) -> None:
    answer = scene.put()
    scene.stats.count("mqtt_lost", 3)
    scene.live.switch("colour", on=False)
    with followed(page) as stream:
        assert next(stream)[0] == "history"
        state = until(lambda: latest if (latest := next(stream)[1])["stats"]["counts"] else None)

    (camera,) = state["cameras"]
    assert camera["answer"] == answer.to_dict()
    assert {key: camera[key] for key in scene.states["front"]} == scene.states["front"]
    assert camera["name"] == "front"
    assert state["tasks"] == [{"name": "shape", "on": True}, {"name": "colour", "on": False}]
    assert state["stats"]["counts"] == {"mqtt_lost": 3}
    assert state["stats"]["latency_ms"] == {"0.5": 12.5, "0.9": 12.5, "0.99": 12.5}
    assert abs(state["time"] - time.time()) < 5


def test_events_come_about_five_times_a_second(moving: Scene) -> None:
    with moving.page() as page, followed(page) as stream:
        next(stream)
        times, seen = [], set()
        for _, state in itertools.islice(stream, 8):
            times.append(state["time"])
            seen.add(json.dumps(state["cameras"][0]["answer"]))

    assert times[-1] - times[1] > 0.9  # six pauses of 0.2 s; the first state comes at once
    assert len(seen) > 4


def test_a_viewer_first_gets_the_last_minute(scene: Scene) -> None:
    now = 100.0
    board = Board(scene.live, scene.stats, scene.cameras, scene.tasks, clock=lambda: now)
    said = []
    for _ in range(400):  # 80 seconds, five frames and five looks in each
        said.append(scene.put())
        board.look()
        now += 0.2
    history = board.history()["front"]

    times = [answer.taken_at for answer in said]
    assert len(history) == 120
    assert [time for time, _ in history] == sorted(time for time, _ in history)
    assert all(any(abs(time - taken) < 0.002 for taken in times) for time, _ in history)
    assert history[-1][1]["shape"] in [
        (answer.tasks["shape"].label, round(answer.tasks["shape"].probability, 3))
        for answer in said[-3:]
    ]
    scene.live.switch("shape", on=False)
    assert board.state()["cameras"][0]["frames_per_s"] == pytest.approx(5.0)


def test_cameras_and_tasks_come_and_go(scene: Scene, page: PageServer) -> None:
    def names(state: dict[str, Any]) -> tuple[list[str], list[str]]:
        return [c["name"] for c in state["cameras"]], [t["name"] for t in state["tasks"]]

    with followed(page) as stream:
        next(stream)
        assert names(next(stream)[1]) == (["front"], ["shape", "colour"])
        scene.add("back")
        scene.labels = {"digit": ["1"]}
        until(lambda: names(next(stream)[1]) == (["front", "back"], ["digit"]))


def test_the_picture_is_the_newest_with_its_colours(scene: Scene, page: PageServer) -> None:
    assert status(page, "/frame/front.jpg") == 404
    scene.put()
    response, data = ask(page, "GET", "/frame/front.jpg?width=640")
    seen = np.asarray(Image.open(io.BytesIO(data)))

    assert response.headers["Content-Type"] == "image/jpeg"
    assert seen.shape == (HEIGHT, WIDTH, 3)
    assert np.allclose(seen[:, 60:].mean((0, 1)), (0, 0, 200), atol=6)  # red first: it is blue
    assert np.allclose(seen[:, :32].mean((0, 1)), 255, atol=6)


@pytest.mark.parametrize(
    ("wide", "width"), [(1, 160), (320, 320), (400, 320), (410, 480), (99999, 600)]
)
def test_a_picture_is_scaled_down_to_a_few_widths(
    scene: Scene, page: PageServer, wide: int, width: int
) -> None:
    image = np.zeros((300, 700, 3), np.uint8)[:, 50:650]  # a part of a larger one
    scene.live.put(Frame(image, 0, SYSTEM_CLOCK.now(), "front"), scene.put())
    _, data = ask(page, "GET", f"/frame/front.jpg?width={wide}")

    assert Image.open(io.BytesIO(data)).size == (width, width // 2)


@pytest.mark.parametrize("width", ["", "-1", "1e3", "x", "1234567", "%C2%B2"])
def test_a_width_is_a_number(scene: Scene, page: PageServer, width: str) -> None:
    scene.put()

    assert status(page, f"/frame/front.jpg?width={width}x") == 400


def test_a_picture_is_made_once_for_all(
    scene: Scene, page: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    encode, goes_on = pictures.encode, threading.Event()

    def counted(image: Any, width: int) -> bytes:
        made.append(width)
        assert goes_on.wait(10)
        return encode(image, width)

    monkeypatch.setattr(pictures, "encode", counted)
    scene.put()
    with ThreadPoolExecutor(12) as viewers:
        asking = [viewers.submit(ask, page, "GET", "/frame/front.jpg") for _ in range(12)]
        until(lambda: made)
        with followed(page) as stream:  # the others go on, and the loop too
            first = next(stream)
            scene.put()
            until(lambda: next(stream)[1]["cameras"][0]["answer"]["frame"] == 1)
        goes_on.set()
        tags = {response.result()[0].headers["ETag"] for response in asking}

    assert first[0] == "history"
    assert len(tags) == 1
    assert made == [640]


def test_a_picture_that_is_known_is_not_sent_again(
    scene: Scene, page: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put()
    tag = ask(page, "GET", "/frame/front.jpg")[0].headers["ETag"]
    again, nothing = ask(page, "GET", "/frame/front.jpg", If_None_Match=tag)

    assert (again.status, nothing) == (304, b"")
    monkeypatch.setattr(pictures, "_LEAST_S", 1e9)
    scene.put()
    assert status(page, "/frame/front.jpg", If_None_Match=tag) == 304  # ten a second at most
    monkeypatch.setattr(pictures, "_LEAST_S", 0)
    assert ask(page, "GET", "/frame/front.jpg", If_None_Match=tag)[0].headers["ETag"] != tag


def test_metrics_are_for_prometheus(scene: Scene, page: PageServer) -> None:
    scene.put()
    response, text = ask(page, "GET", "/metrics")
    rows = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if line[0] != "#")

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert rows['snow_frames_answered_total{camera="front"}'] == "1"
    assert rows['snow_camera_drops_total{camera="front"}'] == "7"
    assert rows['snow_camera_connected{camera="front"}'] == "1"


# ------------------------------------------------------------------------------------ the switches


def test_tasks_are_switched(scene: Scene, page: PageServer) -> None:
    assert switch(page, "shape", on=False) == 200
    assert scene.live.hidden == {"shape"}
    response, body = ask(page, "POST", "/tasks/shape", '{"on": true}', **JSON)
    assert json.loads(body) == {"task": "shape", "on": True}
    assert response.headers["Content-Type"] == "application/json"
    assert scene.live.hidden == set()


@pytest.mark.parametrize("name", ["a/b", "ä ö", "100 %", "?x#y", "<b>", "'\"", "a+b"])
def test_a_task_may_have_any_name(scene: Scene, page: PageServer, name: str) -> None:
    scene.labels[name] = ["x"]

    assert switch(page, name, on=False) == 200
    assert scene.live.hidden == {name}


def test_what_cannot_be_switched(scene: Scene, page: PageServer) -> None:
    assert switch(page, "nothing", on=False) == 404
    for body in ("", "[", "[" * 4000, "[true]", "{}", '{"on": 1}', '{"on": "no"}', '{"on": null}'):
        assert ask(page, "POST", "/tasks/shape", body, **JSON)[0].status == 400
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert switch(page, "shape", on=False, **{"Content-Type": kind}) == 415
    assert scene.live.hidden == set()


def test_another_site_cannot_switch(scene: Scene, page: PageServer) -> None:
    here = page.url.rstrip("/")
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": f"http://localhost:{port_of(page)}"},  # another name is another site
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert switch(page, "shape", on=False, **headers) == 403
    assert scene.live.hidden == set()
    assert switch(page, "shape", on=False, Origin=here) == 200


# ------------------------------------------------------------------------------------ who is let in


def test_others_need_a_token(scene: Scene) -> None:
    for host in (ALL_ADDRESSES, "::", "", "192.0.2.7", "camera.local"):
        with pytest.raises(InputError, match="has no token"):
            scene.page(host=host)
        assert TOKEN in scene.page(host=host, token=TOKEN).entry_url
    for token in ("", "short", "x" * 257, "with spaces in the middle", "semi;colon;semi;colon"):
        with pytest.raises(InputError, match="unfit"):
            scene.page(token=token)


def test_new_tokens_fit_and_differ(scene: Scene) -> None:
    tokens = {new_token() for _ in range(50)}

    assert len(tokens) == 50
    for token in tokens:
        assert scene.page(host=ALL_ADDRESSES, token=token).entry_url.endswith(f"?token={token}")


def test_all_but_health_need_the_token(scene: Scene, locked: PageServer) -> None:
    scene.put()
    paths = ("/", "/events", "/metrics", "/frame/front.jpg", "/static/page.js", "/nothing")
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"snow-page-{port_of(locked)}=wrong"},
        {"Cookie": f"other={TOKEN}"},
    ]
    for path, headers in itertools.product(paths, wrong):
        assert status(locked, path, **headers) == 401
    assert switch(locked, "shape", on=False) == 401
    assert scene.live.hidden == set()
    assert status(locked, "/healthz") == 200
    assert status(locked, f"/metrics?token={TOKEN}") == 401  # in one address only, and not for long
    for path in ("/", "/metrics", "/frame/front.jpg", "/static/page.js"):
        assert status(locked, path, Authorization=f"Bearer {TOKEN}") == 200
    with followed(locked, Authorization=f"bearer {TOKEN}") as stream:
        assert next(stream)[0] == "history"


def test_the_token_becomes_a_cookie(locked: PageServer) -> None:
    path = locked.entry_url.removeprefix(locked.url)
    assert path == f"?token={TOKEN}"
    response, _ = ask(locked, "GET", f"/{path}")
    cookie, *flags = response.headers["Set-Cookie"].split("; ")

    assert (response.status, response.headers["Location"]) == (303, "./")
    assert set(flags) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert status(locked, "/", Cookie=f"a=b; {cookie}; c=d") == 200
    assert status(locked, "/?token=wrong") == 401
    assert status(locked, "/?token=%C3%A9") == 401


def test_a_link_on_another_site_lets_in(locked: PageServer) -> None:
    response, body = ask(locked, "GET", f"/?token={TOKEN}", Sec_Fetch_Site="cross-site")

    assert response.status == 200
    assert b'content="0; url=./"' in body
    assert TOKEN in response.headers["Set-Cookie"]
    assert TOKEN.encode() not in body


def test_the_token_is_told_to_nobody(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    with scene.page(token=TOKEN) as page:
        assert TOKEN not in page.url
        assert TOKEN not in repr(page)
        ask(page, "GET", f"/?token={TOKEN}")
        monkeypatch.setattr(scene.live, "picture", None)
        response, body = ask(
            page, "GET", f"/frame/front.jpg?token={TOKEN}", Authorization=f"Bearer {TOKEN}"
        )

    assert response.status == 500
    assert "could not answer" in caplog.text
    assert TOKEN not in caplog.text + body.decode()
    assert TOKEN not in repr(Guard(TOKEN, loopback=True, port=1))
    assert TOKEN not in repr(Request("GET", ("",), {"token": TOKEN}, {"cookie": TOKEN}))


def test_another_name_of_this_machine_is_refused(page: PageServer) -> None:
    for host in ("evil.example", f"evil.example:{port_of(page)}", "127.0.0.1.evil.example", "0"):
        assert status(page, "/", Host=host) == 403
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:9", "127.1.2.3"):
        assert status(page, "/", Host=host) == 200


def test_what_reaches_this_machine_only() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")))
    assert not any(map(is_loopback, ("", ALL_ADDRESSES, "::", "10.0.0.1", "localhost.evil.com")))


def test_other_sites_cannot_look(scene: Scene, page: PageServer) -> None:
    scene.put()
    for site, path in itertools.product(
        ("cross-site", "same-site"), ("/events", "/frame/front.jpg", "/static/page.js", "/metrics")
    ):
        assert status(page, path, Sec_Fetch_Site=site) == 403
    assert status(page, "/", Sec_Fetch_Site="cross-site") == 200  # a link to it is nothing bad


@pytest.mark.parametrize("path", ["/", "/static/page.css", "/healthz", "/nothing", "/metrics"])
def test_every_answer_is_protected(page: PageServer, path: str) -> None:
    headers = ask(page, "GET", path)[0].headers
    policy = headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers


# ------------------------------------------------------------------------------ what is malformed


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /?" + b"a=1&" * 50 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"x" * 400_000, 431),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_malformed_is_refused(page: PageServer, sent: bytes, code: int) -> None:
    answer = answer_to(page, sent)

    assert answer.startswith(f"HTTP/1.1 {code} ".encode())
    assert b"Connection: close" in answer
    assert status(page, "/healthz") == 200


def test_a_large_body_is_refused_and_the_client_learns_why(page: PageServer) -> None:
    response, text = ask(page, "POST", "/tasks/shape", " " * 500_000, **JSON)

    assert response.status == 413
    assert b"4096" in text


def test_methods(page: PageServer) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        response, _ = ask(page, method, "/")
        assert (response.status, response.headers["Allow"]) == (405, "GET, POST")
    assert ask(page, "HEAD", "/")[0].status == 405
    head = answer_to(page, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert head.endswith(b"\r\n\r\n")


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
        "/tasks/shape",
        "//",
        "/page.html",
    ):
        assert status(page, path) == 404, path


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


# ------------------------------------------------------------------------------ clients that take


def test_a_slow_request_is_cut_off(scene: Scene) -> None:
    with scene.page(limits=Limits(request_s=0.1, idle_s=0.2)) as page:
        assert answer_to(page, b"GET / HT").startswith(b"HTTP/1.1 408 ")
        body = b"POST /tasks/shape HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
        assert answer_to(page, body).startswith(b"HTTP/1.1 408 ")
        assert answer_to(page, b"") == b""


def test_a_client_that_takes_nothing_is_dropped(moving: Scene) -> None:
    wanted = b"GET /static/page.css HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with moving.page(limits=Limits(write_s=0.3)) as page, raw(page) as slow:
        slow.settimeout(5)
        with followed(page) as stream, pytest.raises(OSError, match=r"reset|Broken pipe"):  # noqa: PT012
            for _ in range(1000):
                slow.sendall(wanted * 200)  # and reads none of it
                next(stream)  # the others go on
        assert status(page, "/healthz") == 200


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
            assert client.recv(4096)
        assert status(page, "/healthz") == 200
        assert idle[0].recv(4096) == b""  # who has been idle for the longest time


def test_who_has_had_its_answer_makes_room_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snow_runtime.app.page.connection._LINGER_S", 30.0)
    with scene.page(limits=Limits(connections=3)) as page, ExitStack() as stack:
        idle = stack.enter_context(raw(page))
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(4096)
        for _ in range(8):  # each sends nonsense, gets its answer, and stays
            lingering = stack.enter_context(raw(page))
            lingering.sendall(b"nonsense\r\n\r\n")
            assert lingering.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert status(page, "/healthz") == 200
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_all_connections_in_use(scene: Scene) -> None:
    with scene.page(limits=Limits(connections=2)) as page, ExitStack() as stack:
        for _ in range(2):
            assert next(stack.enter_context(followed(page)))[0] == "history"
        assert answer_to(page, b"").startswith(b"HTTP/1.1 503 ")


# --------------------------------------------------------------------------------- start and stop


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("snow-page")}


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
        broken.setattr("snow_runtime.app.page.server.Routes", None)
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
    for port in (-1, 65_536):
        with pytest.raises(InputError, match=f"no port {port}"):
            scene.page(port=port)
    assert threads() == {"snow-page"}


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


def test_errors_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    faults = Faults(clock=lambda: now)
    for step_s in (0.0, 1.0, 58.0, 2.0):
        now += step_s
        faults.log(Request("GET", ("a\nb",), {}, {}), ZeroDivisionError("oops"))

    assert len(caplog.records) == 2
    assert "GET '/a\\nb'; 2 more" in caplog.records[1].getMessage()
    assert "ZeroDivisionError: oops" in caplog.text


def test_health_tells_of_a_model_that_hangs(scene: Scene) -> None:
    now = 0.0
    scene.stats = Stats(clock=lambda: now)

    with scene.page() as page:

        def health() -> tuple[int, str]:
            scene.states["front"]["since_s"] = now - since_s
            response, body = ask(page, "GET", "/healthz")
            return response.status, body.decode()

        since_s = 0.0
        now = 50.0
        assert health() == (200, "ok\n50.0 s since the last answer or the start\n")
        now = 61.0  # there was never one
        assert health() == (503, "no answers\n61.0 s since the last answer or the start\n")
        scene.put()
        assert health()[0] == 200
        now = 3600.0
        assert health()[0] == 503
        scene.states["front"]["connected"] = 0  # nothing to answer
        assert health() == (200, "ok\n3539.0 s since the last answer or the start\n")
        scene.states["front"]["connected"] = 1
        since_s = 3590.0  # it is back since ten seconds
        assert health()[0] == 200
    with scene.page(hung_after_s=5.0) as page:
        assert health()[0] == 503


def test_the_page_outlives_what_it_looks_at(
    scene: Scene, page: PageServer, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("snow_runtime.app.page.events._PAUSE_S", 0.05)
    with followed(page) as stream:
        next(stream)
        snapshot = scene.stats.snapshot
        monkeypatch.setattr(scene.stats, "snapshot", None)
        until(lambda: "cannot tell the state" in caplog.text)
        assert status(page, "/metrics") == 500
        monkeypatch.setattr(scene.stats, "snapshot", snapshot)
        for _ in range(3):
            assert next(stream)[0] == "state"


# --------------------------------------------------------------------------------- what it ships


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self.inline += [tag] if tag in ("style", "iframe", "object", "form") else []


def test_the_page_needs_nothing_from_elsewhere(page: PageServer) -> None:
    links = Links()
    response, html = ask(page, "GET", "/")
    links.feed(html.decode())
    known: set[str] = set()
    while new := set(links.found) - known:
        known |= new
        for path in new:
            content = ask(page, "GET", f"/{path}")[1].decode()
            links.found += [f"static/{name}" for name in re.findall(r'from "\./(.+?)"', content)]
    shipped = {f"static/{path.name}" for path in files("snow_runtime.app.page.static").iterdir()}

    assert links.inline == []
    assert known | {"static/page.html"} == shipped
    for path in known:
        response, data = ask(page, "GET", f"/{path}")
        assert response.status == 200
        assert response.headers["Content-Type"].split(";")[0] in (
            "text/css",
            "text/javascript",
            "image/svg+xml",
        )
        text = data.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacent|eval\(", text)
