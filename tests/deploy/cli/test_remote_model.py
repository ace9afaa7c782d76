from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("tritonclient.grpc")

import grpc

from snow_deploy.cli import main
from snow_runtime.triton.options import TritonOptions
from snow_runtime.triton.repository import add_version
from tests.deploy.cli.running import Running
from tests.runtime.backends.remote.fake_server import FakeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(graph_path: Path, tmp_path: Path) -> Iterator[FakeServer]:
    add_version(tmp_path / "models", graph_path, TritonOptions())
    with FakeServer(tmp_path / "models") as found:
        yield found


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (tmp_path / "frames").mkdir()
    path = tmp_path / "frames/photo.png"
    Image.fromarray(pixels).save(path)
    return path


def test_predict_asks_a_server(server: FakeServer, graph_path: Path, photo: Path) -> None:
    def tasks(model: str) -> object:
        done = CliRunner().invoke(main, ["predict", model, str(photo), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.output)[0]["tasks"]

    assert tasks(server.address("snow")) == tasks(str(graph_path))
    assert server.asked == [("1", (1, 3, 8, 8))]


def test_a_server_that_is_not_there_is_one_line(photo: Path) -> None:
    done = CliRunner().invoke(main, ["predict", "grpc://127.0.0.1:1/snow", str(photo)])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: The server 127.0.0.1:1 was asked for 'snow'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["predict", "run"])
def test_options_of_files_are_refused(command: str, photo: Path) -> None:
    arguments = [command, "grpc://127.0.0.1:1/snow", "--threads", "2"]
    arguments += [str(photo)] if command == "predict" else ["--camera", "synthetic://"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "the model is on a server: it computes there" in done.stderr


def test_rebuild_is_refused() -> None:
    arguments = ["run", "grpc://127.0.0.1:1/snow", "--rebuild", "--camera", "synthetic://"]
    done = CliRunner().invoke(main, arguments)
    assert "--rebuild is for engines, and the model is on a server" in done.stderr


def test_a_token_on_the_command_line_is_warned_of_and_not_said(photo: Path) -> None:
    for command in (["predict"], ["run", "--camera", str(photo.parent)]):
        address = "grpcs://127.0.0.1:1/snow?token=hidden"
        photos = [str(photo)] if command == ["predict"] else []
        done = CliRunner().invoke(main, [*command, address, *photos])
        assert "warning: a password or token stands on the command line" in done.stderr
        assert "hidden" not in done.stderr


def test_run_asks_a_server_goes_on_after_a_fault_and_opens_it_anew(
    server: FakeServer, graph_path: Path
) -> None:
    address = server.address("snow")
    running = Running(address, "--camera", "synthetic://?width=32&height=24&fps=50")
    try:
        assert "food" in running.line()["tasks"]
        server.fails = grpc.StatusCode.UNAVAILABLE, "away for a while"
        computed = len(server.asked)
        while server.refused < 3:
            assert running.process.poll() is None
            time.sleep(0.01)
        server.fails = None
        while len(server.asked) < computed + 3:
            running.line()
        add_version(server.repository, graph_path, TritonOptions())
        running.process.send_signal(signal.SIGHUP)
        while server.asked[-1][0] != "2":
            running.line()
        _, said = running.stop(signal.SIGTERM)
    finally:
        running.kill()
    assert "was left out: The server 127.0.0.1" in said
    assert "away for a while" in said
    assert f"{address} loaded anew: food" in said
    assert running.process.returncode == 0
