from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from tests.deploy.cli.running import Running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result
    from typing_extensions import Self

pytest.importorskip("cv2")
CAMERA = "synthetic://?width=64&height=48&fps=0"


class Http:
    """A camera that refuses everybody, and remembers who asked."""

    def __init__(self) -> None:
        seen = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.authorization = self.headers["Authorization"] or seen.authorization
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.authorization = ""
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def answers(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_line_for_each_frame(graph_path: Path) -> None:
    result = run(graph_path, "--camera", f"door={CAMERA}", "--frames", 5)

    assert result.exit_code == 0, result.stderr
    lines = answers(result)
    assert len(lines) == 5
    assert {line["camera"] for line in lines} == {"door"}
    numbers = [line["frame"] for line in lines]
    assert numbers == sorted(set(numbers))
    assert set(lines[0]["tasks"]) == {"food"}
    assert lines[0]["tasks"]["food"]["label"].startswith("dish")
    assert result.stderr.startswith("5 frames answered; latency ms: p50 ")
    assert "door: " in result.stderr
    assert "0.0 s lost, 0 damaged, 0 repeated, 0 times frozen, " in result.stderr


def test_the_metrics_tell_what_a_camera_lost() -> None:
    pytest.importorskip("prometheus_client")
    from snow_deploy.cli.run_page import camera_state
    from snow_runtime.app.prometheus import write_metrics
    from snow_runtime.app.stats import Stats
    from snow_runtime.cameras import open_camera

    with open_camera(CAMERA, name="door") as camera:
        content, _ = write_metrics(Stats().snapshot(), {"door": camera_state(camera)})

    for counter in ("lost_seconds", "repeats", "abandoned_reads"):
        assert f'snow_camera_{counter}_total{{camera="door"}} 0.0' in content.decode()


def test_two_cameras_on_one_model(graph_path: Path) -> None:
    paced = CAMERA.replace("fps=0", "fps=50")  # each has its turn, however busy the machine is
    result = run(graph_path, "--camera", paced, "--camera", paced, "--frames", 50)

    assert {line["camera"] for line in answers(result)} == {"camera0", "camera1"}


def test_a_folder_of_pictures_ends(graph_path: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (20, 16), (number * 60, 9, 9)).save(folder / f"{number}.png")

    result = run(graph_path, "--camera", folder, "--every", 2)

    assert result.exit_code == 0, result.stderr
    assert [line["frame"] for line in answers(result)] == [0, 2]


def test_recording(graph_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "seen.mjpeg"

    result = run(
        graph_path, "--camera", CAMERA, "--frames", 3, "--record", path, "--output", "none"
    )

    assert (result.exit_code, result.stdout) == (0, "")
    assert len(path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert path.read_bytes().startswith(b"\xff\xd8")


def test_recordings_are_named_after_their_cameras_in_any_order(
    graph_path: Path, tmp_path: Path
) -> None:
    cameras = [f"{name}={CAMERA}" for name in ("door", "yard")]
    for order in (cameras, cameras[::-1]):
        given = [part for camera in order for part in ("--camera", camera)]
        result = run(graph_path, *given, "--frames", 8, "--record", tmp_path / "seen")
        assert result.exit_code == 0, result.stderr
    for name in ("door", "yard"):
        lines = (tmp_path / f"seen-{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert {json.loads(line)["camera"] for line in lines} == {name}

    nameless = run(graph_path, "--camera", CAMERA, *given[2:], "--record", tmp_path / "seen")
    assert (nameless.exit_code, "give each a name" in nameless.stderr) == (2, True)


@pytest.mark.parametrize(
    ("password", "warned"), [("hunter2", True), ("{env:DOOR}", False), ("{file:door}", False)]
)
def test_secrets_are_kept_off_the_command_line(
    graph_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    password: str,
    warned: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOOR", "hunter2")
    (tmp_path / "door").write_text("hunter2\n", encoding="utf-8")
    with Http() as server:
        camera = f"http://admin:{password}@127.0.0.1:{server.port}/stream"
        result = run(graph_path, "--camera", camera, "--frames", 1)
    assert server.authorization == "Basic " + base64.b64encode(b"admin:hunter2").decode()
    assert ("stands on the command line" in result.stderr) is warned
    assert "hunter2" not in result.output


def test_a_video_is_not_recorded_over_itself(graph_path: Path, tmp_path: Path) -> None:
    video = tmp_path / "seen.mjpeg"
    run(graph_path, "--camera", CAMERA, "--frames", 3, "--record", video, "--output", "none")
    before = video.read_bytes()

    result = run(graph_path, "--camera", f"file:{video}", "--record", video)

    assert (result.exit_code, "reads; name another" in result.stderr) == (2, True)
    assert video.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--camera", CAMERA, "--tasks", "cars"], "no task cars, expected some of food"),
        (["--camera", CAMERA, "--tasks", ","], "--tasks names none"),
        (["--camera", CAMERA, "--output", "mqtt"], "belong together"),
        (["--camera", f"a={CAMERA}", "--camera", f"a={CAMERA}"], "Two cameras have one name: a, a"),
        (["--camera", CAMERA, "--rebuild"], "--rebuild is for engines"),
        ([], "Missing option '--camera'"),
    ],
)
def test_options_that_do_not_fit(graph_path: Path, arguments: list[str], said: str) -> None:
    result = run(graph_path, *arguments)

    assert result.exit_code in (1, 2)
    assert said in result.stderr


def test_threads_are_no_option_of_an_engine(tmp_path: Path) -> None:
    result = run(tmp_path / "snow.engine", "--camera", CAMERA, "--threads", 1)

    assert result.exit_code == 2
    assert "--threads is for graphs" in result.stderr


def test_a_model_that_answers_wrongly_is_not_begun_with(graph_path: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    from snow_runtime.graph.onnx_file import read_graph
    from snow_runtime.self_check import with_self_check

    manifest = read_graph(graph_path).manifest
    assert manifest is not None
    graph = with_self_check(onnx.load(graph_path), manifest)
    (weights,) = (item for item in graph.graph.initializer if item.name == "w")
    values = numpy_helper.to_array(weights).copy()
    values[0] += 9  # as a damaged file or a kernel that computes something else
    weights.CopyFrom(numpy_helper.from_array(values, "w"))
    path = tmp_path / "wrong.onnx"
    onnx.save(graph, path)

    result = run(path, "--camera", CAMERA, "--frames", 2)

    assert result.exit_code == 1
    assert "error: " in result.stderr
    assert result.stdout == ""


def test_a_camera_that_fails_for_good(graph_path: Path, tmp_path: Path) -> None:
    result = run(graph_path, "--camera", tmp_path / "no.mp4")

    assert result.exit_code == 1
    assert "error: " in result.stderr


@pytest.fixture
def model(graph_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "used.onnx"
    shutil.copy(graph_path, path)
    return path


@pytest.fixture
def running(model: Path) -> Iterator[Running]:
    started = Running(model, "--camera", CAMERA, "--threads", 1)
    yield started
    started.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_told(running: Running, number: int) -> None:
    running.line()

    _, said = running.stop(number)

    assert running.process.returncode == 0
    assert "frames answered" in said
    assert "Traceback" not in said


def test_the_model_is_swapped_while_frames_flow(running: Running, model: Path) -> None:
    import onnx

    from snow_runtime.graph.manifest import METADATA_KEY, Manifest
    from snow_runtime.graph.onnx_file import with_manifest

    assert set(running.line()["tasks"]) == {"food"}
    graph = onnx.load(model)
    (entry,) = (item for item in graph.metadata_props if item.key == METADATA_KEY)
    text = entry.value.replace('"name":"food"', '"name":"meal"')
    other = model.with_suffix(".new")
    onnx.save(with_manifest(graph, Manifest.from_json(text)), other)
    os.replace(other, model)  # noqa: PTH105 - atomic, as a deployment does it
    running.process.send_signal(signal.SIGHUP)

    frames = [running.line()]
    while set(frames[-1]["tasks"]) != {"meal"}:
        assert len(frames) < 20_000
        frames.append(running.line())

    assert running.process.poll() is None
    model.write_bytes(b"damaged")
    running.process.send_signal(signal.SIGHUP)
    for _ in range(50):
        assert set(running.line()["tasks"]) == {"meal"}
    _, said = running.stop(signal.SIGTERM)
    assert "loaded anew: meal" in said


def test_a_reader_that_goes_away_does_not_stop_it(running: Running) -> None:
    running.line()
    assert running.process.stdout is not None
    running.process.stdout.close()
    time.sleep(0.3)

    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0
    assert running.process.stderr is not None
    assert "stdout_lost: " in running.process.stderr.read()
