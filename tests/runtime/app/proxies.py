"""The proxies that docs/guide/cameras.md shows, run for real before a page."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.app.asking import JSON, port_of
from tests.runtime.app.conftest import NAME, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.app.page import PageServer

DOCS = Path(__file__).parents[3] / "docs" / "guide" / "cameras.md"
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
        process.kill()  # Caddy waits for open connections else
        process.wait(10)
