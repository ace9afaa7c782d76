"""The page behind the proxies that docs/cameras.md shows, run for real; skipped without them."""

from __future__ import annotations

import http.client
import itertools
import os
import re
import shutil
import socket
import ssl
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.runtime.app.asking import JSON, TOKEN, events, port_of
from tests.runtime.app.conftest import Scene, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.app.page import PageServer

NAME = "box.example"
DOCS = Path(__file__).parents[3] / "docs" / "cameras.md"
NGINX = """
daemon off;
master_process off;
error_log stderr;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {block}
}}
"""
CADDY = """
{{
    admin off
    auto_https disable_redirects
    default_bind 127.0.0.1
}}
{block}
"""


def blocks() -> list[Any]:
    """Give the proxies' blocks of the documentation, each with its program's name and path."""
    found = re.findall(r"```(nginx|caddyfile)\n(.+?)```", DOCS.read_text(), re.DOTALL)
    made = []
    for kind, block in found:
        path = "/snow/" if "/snow/" in block else "/"
        made.append(pytest.param(kind, block, path, id=f"{kind}{path}"))
    return made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl is installed: apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificate")
    files = folder / "box.pem", folder / "box.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}", "-out", str(files[0])]
    subprocess.run([*command, "-keyout", str(files[1])], check=True, capture_output=True)
    return files


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Proxy:
    """A proxy with TLS before a page.

    Attributes:
        port: Where it listens.
        path: Below which the page is.
    """

    def __init__(self, port: int, path: str, certificate: Path) -> None:
        self.port = port
        self.path = path
        self._context = ssl.create_default_context(cafile=str(certificate))

    @property
    def site(self) -> str:
        return f"https://{NAME}:{self.port}"

    @contextmanager
    def asked(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        """Ask as a browser does that looks at the page."""
        connection = http.client.HTTPSConnection(NAME, self.port, timeout=10, context=self._context)
        here = ("127.0.0.1", self.port)
        connection._create_connection = lambda *_: socket.create_connection(here, 10)  # type: ignore[attr-defined]
        if body is not None:
            headers = {"Origin": self.site, **JSON, **headers}
        try:
            connection.request(method, f"{self.path}{path}", body, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def status(self, method: str, path: str, body: str | None = None, **headers: str) -> int:
        with self.asked(method, path, body, **headers) as response:
            response.read()
            return response.status


@contextmanager
def proxied(
    kind: str, block: str, path: str, page: PageServer, certificate: tuple[Path, Path]
) -> Iterator[Proxy]:
    """Run a block of the documentation with its ports and files put in."""
    program = shutil.which(
        {"caddyfile": "caddy"}.get(kind, kind), path=f"{os.environ['PATH']}:/usr/sbin"
    )
    if program is None:
        pytest.skip(f"no {kind} is installed")
    port, folder = free_port(), certificate[0].parent
    block = block.replace("127.0.0.1:8080", f"127.0.0.1:{port_of(page)}")
    block = block.replace("/etc/ssl/", f"{folder}/").replace(
        "listen 443", f"listen 127.0.0.1:{port}"
    )
    tls = " ".join(map(str, certificate))
    block = re.sub(rf"^{NAME} {{", f"https://{NAME}:{port} {{\n    tls {tls}", block)
    config = folder / f"{kind}.conf"
    config.write_text({"nginx": NGINX, "caddyfile": CADDY}[kind].format(folder=folder, block=block))
    command = {
        "nginx": ["-e", "stderr", "-p", str(folder), "-c", str(config)],
        "caddyfile": ["run", "--adapter", "caddyfile", "--config", str(config)],
    }[kind]
    home = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    log = folder / f"{kind}.log"
    with log.open("wb") as told:
        process = subprocess.Popen([program, *command], env={**os.environ, **home}, stderr=told)
    try:
        until(lambda: listens(port) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield Proxy(port, path, certificate[0])
    finally:
        process.terminate()
        process.wait(10)


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
