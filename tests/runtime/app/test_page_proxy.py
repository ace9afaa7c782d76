"""The page behind the proxies of docs/guide/cameras.md; skipped where they are not installed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.runtime.app.asking import TOKEN, events
from tests.runtime.app.conftest import NAME, Scene, until
from tests.runtime.app.proxies import blocks, proxied

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("kind", "block", "path"), blocks())
def test_the_documented_blocks(
    moving: Scene, certificate: tuple[Path, Path], kind: str, block: str, path: str
) -> None:
    name = "a/b ?#%"
    moving.put()
    moving.labels[name] = ["x"]
    switch = f"tasks/{quote(name, safe='')}", '{"on": false}'
    with (
        moving.page(allowed_hosts=[NAME]) as page,
        proxied(kind, block, path, page, certificate) as proxy,
    ):
        for wanted in ("", "static/page.js", "frame/front.jpg", "metrics", "healthz"):
            assert proxy.status("GET", wanted) == proxy.status("HEAD", wanted) == 200
        assert proxy.status("POST", *switch, Origin="https://evil.example") == 403
        assert moving.live.hidden == set()
        assert proxy.status("POST", *switch) == 200
        assert moving.live.hidden == {name}
        with proxy.asked("GET", "events") as response:
            stream = events(response)
            assert next(stream)[0] == "history"
            first = next(stream)[1]["cameras"][0]["answer"]["frame"]
            moving.labels = {"new": ["y"]}  # known only after the first events were on their way
            until(lambda: next(stream)[1]["tasks"] == [{"name": "new", "on": True}])
            assert next(stream)[1]["cameras"][0]["answer"]["frame"] > first
        if path != "/":
            proxy.path = path.rstrip("/")
            with proxy.asked("GET", "") as response:
                assert response.status in {301, 302}
                assert (response.headers["Location"] or "").endswith(path)


@pytest.mark.parametrize(("kind", "block", "path"), blocks())
def test_events_are_not_kept_back(  # noqa: PLR0917 - fixtures
    scene: Scene,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    block: str,
    path: str,
) -> None:
    monkeypatch.setattr("snow_runtime.app.page.events._TICK_S", 3600)  # nothing pushes them on
    scene.put()
    with (
        scene.page(allowed_hosts=[NAME]) as page,
        proxied(kind, block, path, page, certificate) as proxy,
        proxy.asked("GET", "events") as response,
    ):
        assert [name for name, _ in itertools.islice(events(response), 2)] == ["history", "state"]


@pytest.mark.parametrize("host", ["", "proxy_set_header Host $host;"], ids=["default", "$host"])
def test_nginx_with_other_hosts(moving: Scene, certificate: tuple[Path, Path], host: str) -> None:
    kind, block, path = blocks()[0].values
    changed = block.replace("proxy_set_header Host $http_host;", host)
    assert changed != block
    body = "tasks/shape", '{"on": false}'
    with (
        moving.page(allowed_hosts=[NAME]) as page,
        proxied(kind, changed, path, page, certificate) as proxy,
    ):
        assert proxy.status("GET", "") == 200
        assert proxy.status("POST", *body) == 200
        assert proxy.status("POST", *body, Origin="https://evil.example") == 403
    with moving.page() as page, proxied(kind, changed, path, page, certificate) as proxy:
        assert proxy.status("GET", "") == (403 if host else 200)
        with proxy.asked("POST", *body) as response:
            assert response.status == 403
            assert f"--allowed-host {NAME}" in response.read().decode()


@pytest.mark.parametrize(("kind", "block", "path"), blocks())
def test_a_token_behind_a_proxy(
    scene: Scene, certificate: tuple[Path, Path], kind: str, block: str, path: str
) -> None:
    with (
        scene.page(allowed_hosts=[NAME], token=TOKEN) as page,
        proxied(kind, block, path, page, certificate) as proxy,
    ):
        assert proxy.status("GET", "metrics") == 401
        assert proxy.status("GET", "healthz") == 200
        with proxy.asked("GET", f"?token={TOKEN}") as response:
            assert response.status == 303
            assert response.headers["Location"] == "./"
            cookie, *flags = (response.headers["Set-Cookie"] or "").split("; ")
        assert {flag.lower() for flag in flags} == {"httponly", "samesite=strict", "secure"}
        assert proxy.status("GET", "metrics", Cookie=cookie) == 200
        assert proxy.status("POST", "tasks/shape", '{"on": false}', Cookie=cookie) == 200
