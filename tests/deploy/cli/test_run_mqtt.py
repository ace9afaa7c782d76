"""The options of `run` for a broker, and what one then has."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.cli.run_site import site_now
from snow_runtime.app.loop import Loop, LoopOptions
from snow_runtime.cameras.status import Counters
from tests.runtime.app.conftest import until
from tests.runtime.app.mosquitto import Listener, brokers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from tests.runtime.app.mosquitto import Start

pytest.importorskip("cv2")
pytest.importorskip("paho.mqtt.client")
CAMERA = "door=synthetic://?width=64&height=48&fps=20"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a broker with a configuration; give its port."""
    yield from brokers(tmp_path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def test_home_assistant_finds_a_camera_and_turns_a_task_off(start: Start, graph_path: Path) -> None:
    port = start("allow_anonymous true")
    listener = Listener(port, "#")

    def home_assistant() -> None:
        until(lambda: listener.last("site/door/state/food") not in {None, "stale"})
        listener.publish("site/door/switch/food/set", "OFF")

    other = threading.Thread(target=home_assistant)
    other.start()
    options = ["--states", "--state-agree", "1/1", "--state-dwell", 0, "--threads", 1]
    broker = ["--output", "mqtt", "--mqtt", f"mqtt://127.0.0.1:{port}/site"]
    more = ["--mqtt-switches", "--mqtt-discovery", "ha"]
    result = run(graph_path, "--camera", CAMERA, "--frames", 30, *options, *broker, *more)
    other.join()
    assert result.exit_code == 0, result.stderr

    until(lambda: listener.last("site/status") == "offline")
    listener.close()
    documents = [
        json.loads(text) for topic, (text, _) in listener.got.items() if "/device/" in topic
    ]
    names = {document["device"]["name"] for document in documents}
    assert names == {"site", "door"}
    (door,) = [each["components"].values() for each in documents if "via_device" in each["device"]]
    (food,) = [each for each in door if each["name"] == "food"]
    assert listener.last(food["state_topic"]) in food["options"]
    (switch,) = [each for each in door if each["name"] == "Ask: food"]
    assert listener.last(switch["state_topic"]) == "OFF"
    frames = [json.loads(text) for topic, text in listener.history if topic == "site/door"]
    asked = [set(frame["tasks"]) for frame in frames]
    assert "food" in asked[0]
    assert asked[-1] == asked[0] - {"food"}
    assert listener.last("site/door/availability") == "offline"
    assert json.loads(listener.got["site/door/diagnostics"][0])["frames"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mqtt-switches"], "--mqtt-switches is for --output mqtt"),
        (["--mqtt-discovery", "ha", "--states"], "--mqtt-discovery is for --output mqtt"),
        (["--output", "mqtt", "--mqtt", "mqtt://h", "--mqtt-discovery", "ha"], "give --states too"),
    ],
)
def test_options_that_do_not_fit(graph_path: Path, arguments: list[Any], message: str) -> None:
    result = run(graph_path, "--camera", CAMERA, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("prefix", ["", "/", "a/#", "+", "/a", "a/"])
def test_a_prefix_that_is_no_topic(graph_path: Path, prefix: str) -> None:
    broker = ["--output", "mqtt", "--mqtt", "mqtt://h", "--states", "--mqtt-discovery", prefix]
    result = run(graph_path, "--camera", CAMERA, *broker)
    assert result.exit_code == 1
    assert "is no topic to publish below" in result.stderr.replace("\n", " ")


def test_a_prefix_that_is_the_program_s_own_topic(graph_path: Path) -> None:
    """Home Assistant is online on `ha/status`, and so would be this program."""
    broker = ["--output", "mqtt", "--mqtt", "mqtt://me:{env:NONE}@h/ha", "--states"]
    result = run(graph_path, "--camera", CAMERA, *broker, "--mqtt-discovery", "ha")
    assert result.exit_code == 1
    assert "names a variable that is not set" in result.stderr.replace("\n", " ")
    broker[3] = "mqtt://me:secret@h/ha"
    result = run(graph_path, "--camera", CAMERA, *broker, "--mqtt-discovery", "ha")
    assert result.exit_code == 1
    assert "would be both Home Assistant's" in result.stderr.replace("\n", " ")
    assert "me:secret" not in result.stderr


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("connected", "online"),
        ("frozen", "stale"),
        *((state, "offline") for state in ("connecting", "reconnecting", "ended", "failed")),
    ],
)
def test_what_a_broker_is_told_of_a_camera(state: str, told: str) -> None:
    status = SimpleNamespace(state=state)
    camera: Any = SimpleNamespace(name="door", status=status, counters=Counters(frames=3))
    nothing: Any = None
    loop = Loop(nothing, nothing, [], LoopOptions(tasks=("food",)))
    loop.stats.count("errors", 2)
    found = site_now(loop, [camera])
    assert found.cameras == {"door": told}
    assert found.on == {("door", "food"): True}
    assert found.figures["errors"] == 2
    assert found.camera_figures["door"]["frames"] == 3


@pytest.mark.slow
def test_cameras_that_a_new_file_lacks_leave_the_broker_and_switches_stay(
    start: Start, graph_path: Path, tmp_path: Path
) -> None:
    port = start("allow_anonymous true")
    listener, path = Listener(port, "#"), tmp_path / "snow.toml"

    def write(*cameras: str) -> None:
        tables = [f'[cameras.{name}]\naddress = "{CAMERA[5:]}"\n' for name in cameras]
        path.write_text(
            f"model = '{graph_path}'\noutput = 'mqtt'\n{''.join(tables)}"
            '[states]\nagree = "1/1"\ndwell = 0\n'
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}/site"\nswitches = true\nretain = true\n'
            'discovery = "ha"\n',
            encoding="utf-8",
        )

    def answers(camera: str) -> bool:
        return listener.last(f"site/{camera}/state/food") not in {None, "", "stale"}

    write("door")
    words = [sys.executable, "-m", "snow_deploy", "run", "--config", str(path)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers("door"), 60)
        listener.publish("site/door/switch/food/set", "OFF")
        until(lambda: listener.last("site/door/switch/food") == "OFF", 60)
        write("door", "yard")
        process.send_signal(signal.SIGHUP)
        until(lambda: answers("yard"), 60)
        assert listener.last("site/door/switch/food") == "OFF"

        write("gate")
        process.send_signal(signal.SIGHUP)
        until(lambda: answers("gate"), 60)
        never_kept = {"site/door/event", "site/yard/event", "site/door/switch/food/set"}
        until(
            lambda: (
                not [
                    topic
                    for topic, (text, _) in listener.got.items()
                    if text and topic not in never_kept and ("door" in topic or "yard" in topic)
                ]
            ),
            60,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        listener.close()
