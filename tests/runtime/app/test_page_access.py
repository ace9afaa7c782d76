from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import pytest

from snow_runtime.app.http.access import Access, is_loopback
from snow_runtime.app.page import PageServer, ServingOptions, new_token
from snow_runtime.errors import InputError
from tests.runtime.app.asking import (
    ALL_ADDRESSES,
    JSON,
    TOKEN,
    answer_to,
    ask,
    followed,
    port_of,
    status,
    switch,
)

if TYPE_CHECKING:
    from tests.runtime.app.conftest import Scene


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
    assert {flag.lower() for flag in flags} == {"httponly", "samesite=strict"}
    secure, _ = ask(locked, "GET", f"/{path}", X_Forwarded_Proto="https")
    assert secure.headers["Set-Cookie"].lower().endswith("; secure")
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
    caplog.set_level(1)  # more than any library's DEBUG
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
    assert TOKEN not in repr(Access("127.0.0.1", TOKEN))


def test_another_name_of_this_machine_is_refused(page: PageServer) -> None:
    for host in ("evil.example", f"evil.example:{port_of(page)}", "127.0.0.1.evil.example", "0"):
        assert status(page, "/", Host=host) == 403
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:9", "127.1.2.3"):
        assert status(page, "/", Host=host) == 200


def test_what_reaches_this_machine_only() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")))
    assert not any(map(is_loopback, ("", ALL_ADDRESSES, "::", "10.0.0.1", "localhost.evil.com")))


@pytest.mark.parametrize("given", ["box.example", "BOX.example:8443", "[fe80::1]:8443"])
def test_a_proxy_before_the_page_has_a_name(scene: Scene, given: str) -> None:
    name = re.sub(r":8443$", "", given.lower())
    with scene.page(allowed_hosts=["other.example", given]) as page:
        here = f"127.0.0.1:{port_of(page)}"
        assert status(page, "/", Host="evil.example") == 403
        for host in (name, f"{name}:8443", here):  # as proxies hand it on, or don't
            assert status(page, "/", Host=host) == 200
            for origin in (f"https://{name}:8443", f"http://{here}"):
                assert (switch(page, "shape", on=True, Host=host, Origin=origin) == 200) == (
                    name in origin or host == here
                )
            assert switch(page, "shape", on=False, Host=host, Origin="https://evil.example") == 403
        any_port = given == name
        assert (switch(page, "shape", on=True, Origin=f"https://{name}:1") == 200) == any_port
    assert scene.live.hidden == set()


def test_the_port_that_a_scheme_has_anyway_may_be_named(scene: Scene) -> None:
    with scene.page(host=ALL_ADDRESSES, token=TOKEN) as page:
        known = {"Authorization": f"Bearer {TOKEN}"}
        for host in ("box.example", "box.example:443", "BOX.EXAMPLE"):
            named = {**known, "Host": host}
            assert switch(page, "shape", on=True, Origin="https://box.example", **named) == 200
            assert switch(page, "shape", on=True, Origin="https://box.example:1", **named) == 403


def test_a_proxy_that_is_not_known_is_told_what_to_do(page: PageServer) -> None:
    refused, text = ask(page, "GET", "/", Host="box.example:8443")
    assert refused.status == 403
    assert b"--allowed-host box.example:8443" in text
    refused, text = ask(page, "POST", "/tasks/shape", "{}", Origin="https://box.example", **JSON)
    assert refused.status == 403
    assert b"--allowed-host box.example." in text
    assert b"<b>" not in ask(page, "GET", "/", Host="<b>x</b>")[1]


@pytest.mark.parametrize(
    "host",
    ["https://box.example", "box.example/snow", "*.example", "", "a b", "box:port", ".example"],
)
def test_what_is_no_name_of_a_host(scene: Scene, host: str) -> None:
    with pytest.raises(InputError, match="is no name by which the page could be reached"):
        scene.page(allowed_hosts=[host])


def test_who_asks_without_a_host_is_no_browser(scene: Scene, locked: PageServer) -> None:
    with scene.page() as page:
        assert answer_to(page, b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert answer_to(locked, b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 401 ")


def test_other_sites_cannot_look(scene: Scene, page: PageServer) -> None:
    scene.put()
    for site, path in itertools.product(
        ("cross-site", "same-site"), ("/events", "/frame/front.jpg", "/static/page.js", "/metrics")
    ):
        assert status(page, path, Sec_Fetch_Site=site) == 403
    assert status(page, "/", Sec_Fetch_Site="cross-site") == 200  # a link to it is nothing bad


def test_every_answer_is_protected(page: PageServer) -> None:
    for path in ("/", "/static/page.css", "/healthz", "/nothing", "/metrics", "/tasks/shape"):
        headers = ask(page, "GET", path)[0].headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert "Server" not in headers
    assert "nosniff" in str(ask(page, "GET", "/", Host="evil.example")[0].headers)


def test_options_that_are_printed_keep_the_token_to_themselves() -> None:
    assert TOKEN not in f"{ServingOptions(token=TOKEN)} {Access('127.0.0.1', TOKEN)}"
