"""`snow-deploy label`, and the labelling page of `run --collect`, in processes of their own."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion
from tests.deploy.cli.running import Running
from tests.runtime.collection.pictures import new_picture
from tests.runtime.readout.graphs import feature_graph

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("starlette")
CAMERA = "door=synthetic://?width=64&height=48&fps=20"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Collection.open(tmp_path / "kept", create=True) as made:
        made.add_question(CollectionQuestion("door", ("open", "closed")))
        made.add(new_picture(1))
    return tmp_path / "kept"


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen[str]]]:
    found: list[subprocess.Popen[str]] = []
    yield found
    for process in found:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(port: int, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    text, method = (None, "GET") if body is None else (json.dumps(body), "POST")
    connection.request(method, path, text, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    found = response.read()
    connection.close()
    return response.status, found


def port_in(line: str, what: str) -> int:
    found = re.fullmatch(rf"{what}: http://127\.0\.0\.1:(\d+)/(\?token=.+)?\n", line)
    assert found, line
    return int(found[1])


def test_a_collection_is_labelled_without_cameras(
    folder: Path, begun: list[subprocess.Popen[str]]
) -> None:
    command = [sys.executable, "-m", "snow_deploy", "label", str(folder), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--allowed-host", "box.example"], stderr=subprocess.PIPE, text=True
    )
    begun.append(process)
    assert process.stderr is not None
    port = port_in(process.stderr.readline(), "labelling page")
    assert process.stderr.readline().startswith("note: the page has no token")
    assert ask(port, "/label/")[0] == 200
    assert ask(port, "/label/", Host="box.example")[0] == 200
    assert ask(port, "/label/", Host="other.example")[0] == 403
    choices = [{"label": "open", "ids": [1]}]
    body = {"question": "door", "by": "Ann", "choices": choices}
    assert ask(port, "/label/api/labels", body)[0] == 200
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")
    with Collection.open(folder) as kept:
        assert kept.labels("door") == {1: "open"}


def test_what_cannot_be_labelled_is_said(tmp_path: Path, folder: Path) -> None:
    def label(*arguments: object) -> str:
        result = CliRunner().invoke(main, ["label", *map(str, arguments)])
        assert result.exit_code != 0
        assert isinstance(result.exception, SystemExit)
        return result.stderr

    assert "There is no collection in" in label(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert "The page's token is unfit" in label(folder, "--token", "short")
    assert "cannot be served at" in label(folder, "--host", "192.0.2.1", "--port", 1)


def test_run_serves_the_page_of_what_it_keeps(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    graph = feature_graph(tmp_path / "graph.onnx").path
    arguments = ("--output", "none", "--port", 0, "--collect", tmp_path / "kept", "--no-refit")
    running = Running(graph, "--camera", CAMERA, *arguments)
    try:
        assert running.process.stderr is not None
        port = port_in(running.process.stderr.readline(), "live page")
        assert b'href="label/"' in ask(port, "/")[1]
        state = json.loads(ask(port, "/label/api/state")[1])
        assert {"camera": "door", "view": None} in [
            {key: each[key] for key in ("camera", "view")} for each in state["views"]
        ]
        assert state["model"] is False
        new = {"name": "light", "labels": ["on", "off"], "camera": "door", "view": None}
        assert ask(port, "/label/api/questions", new)[0] == 200
        _, said = running.stop(signal.SIGTERM)
        assert running.process.returncode == 0, said
    finally:
        running.kill()
    with Collection.open(tmp_path / "kept") as kept:
        assert [each.name for each in kept.questions()] == ["light"]
