"""What goes wrong around a box in the field, with `snow-deploy run` in a process of its own."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.deploy.cli.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

cv2 = pytest.importorskip("cv2")
DEADLINE_S = 30.0
CAMERA = "synthetic://?width=64&height=48&fps=20"


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def make(*arguments: object) -> Running:
        started.append(Running(*arguments))
        return started[-1]

    yield make
    for running in started:
        running.kill()


def wait_for(condition: Callable[[], Any]) -> Any:
    ends = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < ends
        time.sleep(0.02)
    return found


def counted(said: str, what: str) -> int:
    """Find a count in the summary that `run` prints at its end."""
    found = [line.partition(": ")[2] for line in said.splitlines() if line.startswith(what)]
    return int(found[0]) if found else 0


def test_a_camera_server_that_is_killed_and_comes_back(
    start: Callable[..., Running], graph_path: Path
) -> None:
    from tests.runtime.cameras.mjpeg_server import MjpegServer

    with MjpegServer(lambda client: client.stream(fps=30)) as server:
        running = start(graph_path, "--camera", f"door={server.uri}", "--threads", 1)
        first = running.line()
        server.kill()
    time.sleep(0.5)
    with MjpegServer(lambda client: client.stream(fps=30), port=server.port):
        later = first
        while later["time"] < first["time"] + 0.5:
            later = running.line()
        _, said = running.stop(signal.SIGTERM)

    assert later["frame"] > first["frame"]
    assert later["age_ms"] < 5000  # no frame from before the outage is shown as new
    assert "1 reconnections" in said
    assert running.process.returncode == 0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Broker:
    """Debian's mosquitto on one port, started as often as needed."""

    def __init__(self) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed (apt install mosquitto)")
        self.program, self.port = program, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [self.program, "-p", str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def broker() -> Iterator[Broker]:
    pytest.importorskip("paho.mqtt.client")
    found = Broker()
    yield found
    found.kill()


def test_a_broker_that_is_gone_at_first_then_there_then_gone_and_back(
    start: Callable[..., Running], broker: Broker, graph_path: Path
) -> None:
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    got: list[dict[str, Any]] = []
    listener = paho.Client(CallbackAPIVersion.VERSION2)
    listener.on_connect = lambda client, *_: client.subscribe("yard/door")
    listener.on_message = lambda _client, _data, message: got.append(json.loads(message.payload))
    listener.reconnect_delay_set(1, 1)
    address = f"mqtt://127.0.0.1:{broker.port}/yard"
    running = start(graph_path, "--camera", f"door={CAMERA}", "--output", "mqtt", "--mqtt", address)
    time.sleep(0.5)
    broker.start()
    listener.connect("127.0.0.1", broker.port)
    listener.loop_start()
    wait_for(lambda: got)
    broker.kill()
    seen = len(got)
    broker.start()
    wait_for(lambda: len(got) > seen)
    _, said = running.stop(signal.SIGTERM)
    listener.disconnect()
    listener.loop_stop()

    numbers = [answer["frame"] for answer in got]
    assert numbers == sorted(set(numbers))
    assert {answer["camera"] for answer in got} == {"door"}
    assert running.process.returncode == 0
    answered = int(said.split(" frames answered")[0].split()[-1])
    assert 0 < counted(said, "mqtt_lost") < answered


def test_a_disk_that_fills_up_while_recording(
    mount_disk: Callable[[str], Path], start: Callable[..., Running], graph_path: Path
) -> None:
    small_disk = mount_disk("66m")  # a little more than recording wants to leave free
    path, filler = small_disk / "seen.mjpeg", small_disk / "filler"
    running = start(graph_path, "--camera", f"{CAMERA[:-2]}200", "--record", path, "--threads", 1)

    def recorded() -> int:
        found = path.with_suffix(".jsonl")
        return found.read_bytes().count(b"\n") if found.exists() else 0

    wait_for(lambda: recorded() > 5)
    with filler.open("ab", buffering=0) as stream, suppress(OSError):
        while stream.write(bytes(1 << 20)):  # to the last byte
            pass
    assert shutil.disk_usage(small_disk).free < 1 << 20
    full = recorded()
    for _ in range(100):
        running.line()  # answers go on
    filler.unlink()
    wait_for(lambda: recorded() > full + 5)
    _, said = running.stop(signal.SIGTERM)

    assert running.process.returncode == 0
    assert counted(said, "recording_lost") > 0
    answers = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    numbers = [answer["frame"] for answer in answers]
    assert numbers == sorted(set(numbers))
    content, offsets = path.read_bytes(), [answer["offset"] for answer in answers]
    for begin, end in zip(offsets, [*offsets[1:], len(content)], strict=True):
        picture = cv2.imdecode(np.frombuffer(content[begin:end], np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (48, 64, 3)


@pytest.fixture
def slow_graph(tmp_path: Path) -> Path:
    """A graph that computes for about half a second."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry
    from snow_runtime.graph.onnx_file import with_manifest

    side, layers = 1024, 8
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Add", ["w", "mean"], ["x0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"x{n}", "w"], [f"x{n + 1}"]) for n in range(layers)]
    nodes += [
        helper.make_node("ReduceMean", [f"x{layers}"], ["all"], keepdims=0),
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Add", ["flat", "all"], ["food"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])
    food = helper.make_tensor_value_info("food", TensorProto.FLOAT, ["batch", 3])
    weights = numpy_helper.from_array(np.full((side, side), 1 / side, np.float32), "w")
    graph = helper.make_graph(nodes, "slow", [image], [food], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    manifest = Manifest(
        SourceEntry("slow", "a" * 64, 1),
        Preprocessing.for_size(8),
        (TaskEntry("food", "food", ("a", "b", "c")),),
    )
    path = tmp_path / "slow.onnx"
    onnx.save(with_manifest(model, manifest), path)
    return path


def test_told_to_end_while_it_computes(start: Callable[..., Running], slow_graph: Path) -> None:
    running = start(slow_graph, "--camera", CAMERA, "--threads", 1)
    line = running.line()
    assert line["latency_ms"] > 50

    seconds, said = running.stop(signal.SIGTERM)

    assert running.process.returncode == 0
    assert "frames answered" in said
    # The computation under way is finished, and the rest takes a moment.
    assert seconds < 10 * line["latency_ms"] / 1000 + 5


def test_told_to_end_while_nobody_reads(start: Callable[..., Running], graph_path: Path) -> None:
    running = start(graph_path, "--camera", f"{CAMERA[:-2]}0", "--threads", 1)
    running.line()
    time.sleep(1.5)  # the pipe is full by now

    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(DEADLINE_S) == 0

    assert running.process.stderr is not None
    assert counted(running.process.stderr.read(), "stdout_lost") > 0


LOUD = """
import ctypes, sys
from snow_deploy.cli import main
from snow_runtime.cameras.sources.synthetic import SyntheticSource

read, libc = SyntheticSource.read, ctypes.CDLL(None)

def loud(self):
    for _ in range(100):
        libc.dprintf(2, b"%s of a library in C\\n", b"words " * 50)
    return read(self)

SyntheticSource.read = loud
main()
"""


def test_a_library_that_writes_to_standard_error_while_nobody_reads_it(graph_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        LOUD,
        "run",
        str(graph_path),
        "--camera",
        CAMERA,
        "--threads",
        "1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        try:
            for _ in range(20):
                assert json.loads(running.stdout.readline())["camera"] == "camera0"

            running.send_signal(signal.SIGTERM)
            assert running.wait(DEADLINE_S) == 0
        finally:
            running.kill()


@pytest.mark.parametrize("ending", ["jsonl", "mjpeg"])
def test_a_recording_that_standard_error_goes_to_is_left_alone(
    graph_path: Path, tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"seen.{ending}"
    command = [sys.executable, "-m", "snow_deploy", "run", str(graph_path), "--camera"]
    command += ["synthetic://?fps=0", "--frames", "2", "--output", "none"]
    with target.open("wb") as errors:
        done = subprocess.run(
            [*command, "--record", str(tmp_path / "seen.mjpeg")], stderr=errors, check=False
        )

    assert done.returncode == 1
    assert f"standard error goes to {target} too" in target.read_text()
