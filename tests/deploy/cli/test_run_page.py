"""The live page of `snow-deploy run`, in a process of its own."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_runtime.install_hint import pip_install
from tests.deploy.cli.running import Running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAMERA = "synthetic://?width=64&height=48&fps=20"
WITHOUT = "import sys; sys.modules.update(starlette=None, uvicorn=None)\n"


@pytest.fixture
def started(graph_path: Path) -> Iterator[Any]:
    pytest.importorskip("cv2")
    pytest.importorskip("starlette")
    begun: list[Running] = []

    def starts(*options: str) -> tuple[Running, int, str]:
        begun.append(
            Running(graph_path, "--camera", CAMERA, "--output", "none", "--port", 0, *options)
        )
        assert begun[-1].process.stderr is not None
        line = begun[-1].process.stderr.readline()
        port = re.fullmatch(r"live page: http://127\.0\.0\.1:(\d+)/(?:\?token=.+)?\n", line)
        assert port, line
        return begun[-1], int(port[1]), line

    yield starts
    for process in begun:
        process.kill()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def test_the_page_ends_with_the_loop_whoever_looks(started: Any) -> None:
    process, port, _ = started()
    clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(4)]
    for client, path in zip(clients, ("events", "events", "metrics"), strict=False):
        client.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert clients[0].recv(4096).startswith(b"HTTP/1.1 200 ")
    assert ask(port, "/healthz", "HEAD") == 200

    _, said = process.stop(signal.SIGTERM)

    assert process.process.returncode == 0
    assert "frames answered" in said
    assert "Traceback" not in said
    for client in clients:
        client.close()


def test_names_of_a_page_behind_a_proxy(started: Any) -> None:
    process, port, _ = started("--allowed-host", "box.example", "--allowed-host", "b.example:8443")
    assert process.process.stderr.readline().startswith("note: the page has no token")
    for name in ("box.example", "b.example:8443", "localhost"):
        assert ask(port, "/", Host=name) == 200
    assert ask(port, "/", Host="c.example") == 403


def test_a_token_by_the_environment(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOW_TOKEN", "correct-horse-battery")
    process, port, line = started("--allowed-host", "box.example")
    assert "horse" not in line
    assert ask(port, "/metrics", Host="box.example") == 401
    known = {"Authorization": "Bearer correct-horse-battery"}
    assert ask(port, "/metrics", Host="box.example", **known) == 200
    assert ask(port, "/?token=correct-horse-battery") == 303
    _, said = process.stop(signal.SIGINT)
    assert "note:" not in said
    assert "horse" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--allowed-host", "https://box.example"], "'https://box.example' is no name by which"),
        (["--token", "short"], "The page's token is unfit: 5 characters"),
        ([], "Address already in use"),
    ],
)
def test_a_page_that_cannot_be_served(graph_path: Path, options: list[str], said: str) -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("starlette")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        asked = ["run", str(graph_path), "--camera", CAMERA, "--port", port, *options]
        result = CliRunner().invoke(main, asked)

    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "given", [("--host", "192.0.2.1"), ("--token", "{env:TOKEN}"), ("--allowed-host", "a.example")]
)
def test_options_of_a_page_that_nothing_serves(graph_path: Path, given: tuple[str, str]) -> None:
    command = ["run", str(graph_path), "--camera", CAMERA, "--frames", "1", *given]
    result = CliRunner().invoke(main, command, env={"TOKEN": "a-token-of-a-test"})
    assert result.exit_code == 2
    assert f"{given[0]} is for --port; give that too, or leave it out." in result.stderr


def test_a_page_needs_its_extra(graph_path: Path) -> None:
    pytest.importorskip("cv2")
    script = WITHOUT + "from snow_deploy.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", script, "run", str(graph_path), "--camera", CAMERA]
    command += ["--output", "none", "--frames", "1"]

    with_page = subprocess.run([*command, "--port", "0"], check=False, capture_output=True)
    without = subprocess.run(command, check=False, capture_output=True)

    assert with_page.returncode == 1
    assert pip_install("page").encode() in with_page.stderr
    assert b"Traceback" not in with_page.stderr
    assert without.returncode == 0, without.stderr


def test_nothing_of_the_page_is_imported_before_it_is_served() -> None:
    script = (
        "import sys, snow_runtime, snow_deploy.cli, snow_deploy.cli.run, snow_runtime.app.loop\n"
        "print({'starlette', 'uvicorn', 'h11', 'anyio', 'prometheus_client'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)

    assert done.stdout == b"set()\n"
