"""Asking the page as clients do: by HTTP, and by bytes over sockets."""

from __future__ import annotations

import http.client
import json
import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.app.page import PageServer

TOKEN = "correct-horse-battery"  # noqa: S105 - a secret of the tests only
JSON = {"Content-Type": "application/json"}
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - only within a test, with a token


class Served(Protocol):
    """Anything that is served."""

    @property
    def url(self) -> str: ...


def port_of(server: Served) -> int:
    return urlsplit(server.url).port or 0


@contextmanager
def connected(server: Served) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    server: Served, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with connected(server) as connection:
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return response, response.read()


def status(server: Served, path: str, **headers: str) -> int:
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


def answered(client: socket.socket, method: str = "GET") -> int:
    """Read an answer in full, and give its status."""
    response = http.client.HTTPResponse(client, method=method)
    response.begin()
    response.read()
    return response.status


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


@contextmanager
def narrow(server: PageServer) -> Iterator[socket.socket]:
    """Connect with little room for what is not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    with client:
        client.connect(("127.0.0.1", port_of(server)))
        yield client


def served(server: PageServer) -> list[Any]:
    """Give the connections that the page holds."""
    assert server._served is not None
    return list(server._served[0].server_state.connections)
