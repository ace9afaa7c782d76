from __future__ import annotations

import io
import itertools
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from snow_runtime.app import previews
from snow_runtime.app.dashboard import Dashboard
from snow_runtime.app.stats import Stats
from snow_runtime.cameras.clock import SYSTEM_CLOCK
from snow_runtime.cameras.frame import Frame
from tests.runtime.app.asking import (
    JSON,
    answer_to,
    answered,
    ask,
    followed,
    port_of,
    raw,
    status,
    switch,
)
from tests.runtime.app.conftest import HEIGHT, WIDTH, Scene, until

if TYPE_CHECKING:
    from snow_runtime.app.page import PageServer


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
    board = Dashboard(scene.live, scene.stats, scene.cameras, scene.tasks, clock=lambda: now)
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


def test_a_width_is_a_number(scene: Scene, page: PageServer) -> None:
    scene.put()

    for width in ("", "-1", "1e3", "x", "1234567", "%C2%B2"):
        assert status(page, f"/frame/front.jpg?width={width}") == 400


def test_a_picture_is_made_once_for_all(
    scene: Scene, page: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    encode, goes_on = previews.encode, threading.Event()

    def counted(image: Any, width: int) -> bytes:
        made.append(width)
        assert goes_on.wait(10)
        return encode(image, width)

    monkeypatch.setattr(previews, "encode", counted)
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
    monkeypatch.setattr(previews, "_LEAST_S", 1e9)
    scene.put()
    assert status(page, "/frame/front.jpg", If_None_Match=tag) == 304  # ten a second at most
    monkeypatch.setattr(previews, "_LEAST_S", 0)
    assert ask(page, "GET", "/frame/front.jpg", If_None_Match=tag)[0].headers["ETag"] != tag


def test_metrics_are_for_prometheus(scene: Scene, page: PageServer) -> None:
    scene.put()
    response, text = ask(page, "GET", "/metrics")
    rows = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if line[0] != "#")

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert rows['snow_frames_answered_total{camera="front"}'] == "1.0"
    assert rows['snow_camera_drops_total{camera="front"}'] == "7.0"
    assert rows['snow_camera_connected{camera="front"}'] == "1.0"
    response, text = ask(page, "GET", "/metrics", Accept="application/openmetrics-text")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0")
    assert text.endswith(b"# EOF\n")


def test_tasks_are_switched(scene: Scene, page: PageServer) -> None:
    assert switch(page, "shape", on=False) == 200
    assert scene.live.hidden == {"shape"}
    response, body = ask(page, "POST", "/tasks/shape", '{"on": true}', **JSON)
    assert json.loads(body) == {"task": "shape", "on": True}
    assert response.headers["Content-Type"] == "application/json"
    assert scene.live.hidden == set()


def test_a_task_may_have_any_name(scene: Scene, page: PageServer) -> None:
    for name in ("a/b", "ä ö", "100 %", "?x#y", "<b>", "'\"", "a+b", "/", "..", "a//b", "a.jpg"):
        scene.labels[name] = ["x"]
        assert switch(page, name, on=False) == 200
        assert name in scene.live.hidden


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


def test_health_tells_of_cameras_that_were_never_there(scene: Scene) -> None:
    now = 0.0
    scene.stats = Stats(clock=lambda: now)
    scene.add("back")
    scene.states["front"].update(state="connecting", connected=0)
    scene.states["back"].update(state="failed", connected=0)
    with scene.page() as page:

        def health() -> tuple[int, str]:
            response, body = ask(page, "GET", "/healthz")
            return response.status, body.decode().splitlines()[0]

        now = 59.0  # they get their time
        assert health() == (200, "ok")
        now = 61.0
        assert health() == (503, "no camera has connected")
        assert answer_to(page, b"HEAD /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        scene.states["back"].update(state="connected", connected=1, since_s=0.0)
        assert health() == (200, "ok")  # one is enough
        scene.put("back")
        scene.states["back"].update(state="reconnecting", connected=0)
        now = 3600.0
        assert health() == (200, "ok")  # an outage
    scene.states.clear()
    with scene.page() as page:
        assert health() == (200, "ok")  # there is none to wait for


def test_health_is_told_however_it_is_asked_for(page: PageServer, locked: PageServer) -> None:
    ask_new = " HTTP/1.1\r\nConnection: close\r\nHost:"
    for server, asked in itertools.product(
        (page, locked),
        (
            "GET /healthz HTTP/1.0\r\n\r\n",  # HAProxy, and what probes by hand
            "HEAD /healthz HTTP/1.0\r\n\r\n",
            f"HEAD /healthz{ask_new} localhost\r\n\r\n",
            f"GET /healthz{ask_new} 10.0.0.7:8080\r\n\r\n",
            f"GET /healthz{ask_new}\r\n\r\n",
            f"GET /healthz?x=1{ask_new} box.example\r\n\r\n",
        ),
    ):
        answer = answer_to(server, asked.encode())
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert (b"\r\n\r\nok\n" in answer) == asked.startswith("GET")
        with raw(server) as client:  # as nc does
            client.sendall(asked.encode())
            client.shutdown(socket.SHUT_WR)
            assert answered(client, asked.partition(" ")[0]) == 200


def test_the_page_outlives_what_it_looks_at(
    scene: Scene, page: PageServer, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("snow_runtime.app.page.events._TICK_S", 0.005)
    with followed(page) as stream:
        next(stream)
        snapshot = scene.stats.snapshot
        monkeypatch.setattr(scene.stats, "snapshot", None)
        until(lambda: "cannot tell the state" in caplog.text)
        assert status(page, "/metrics") == 500
        time.sleep(0.05)
        assert caplog.text.count("cannot tell the state") == 1  # once a minute
        monkeypatch.setattr(scene.stats, "snapshot", snapshot)
        for _ in range(3):
            assert next(stream)[0] == "state"


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
    folders = ("snow_runtime.app.page.static", "snow_runtime.app.http.static")
    shipped = {f"static/{path.name}" for folder in folders for path in files(folder).iterdir()}

    assert links.inline == []
    pages = {"static/page.html", "static/enter.html", "static/token.html"}
    assert known | pages == shipped
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
