"""Configuration files: what they may say, and all that is wrong with one at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.cli.config_lines import key_lines, line_of
from snow_deploy.cli.config_tables import option_keys
from snow_deploy.cli.follow_options import FOLLOW_PARAMETERS
from snow_deploy.cli.run import command as run_command
from snow_deploy.cli.run_page import setup_now
from snow_runtime import SwappableModel, load
from snow_runtime.app.loop import Loop
from tests.runtime.app.frames import Cameras

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

CAMERA = '[cameras.door]\naddress = "synthetic://?width=64&height=48&fps=0"\n'


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def check(tmp_path: Path, text: str) -> Result:
    path = tmp_path / "snow.toml"
    path.write_text(text, encoding="utf-8")
    return call("config", "check", path)


def test_every_option_of_run_has_its_key_and_every_key_its_option() -> None:
    options = {str(each.name) for each in run_command.params}
    whom_a_box_trusts = {*FOLLOW_PARAMETERS}  # is in no file that an update may bring
    assert set(option_keys()) == options - {"config"} - whom_a_box_trusts


def test_a_file_that_is_right(tmp_path: Path) -> None:
    result = check(tmp_path, f'output = "none"\n{CAMERA}')
    assert result.exit_code == 0, result.output
    assert "is right: snow.onnx, cameras door, output none" in result.stdout
    assert "there is no snow.onnx here yet" in result.stderr


WHOLE = """
model = "snow.onnx"
readouts = ["more/"]
tasks = ["textures", "clothing"]
every = 2
min_confidence = 0
frames = 7
threads = 3
output = "mqtt"
record = "seen.mjpeg"

[cameras.door]
address = "rtsp://192.168.1.9:554/stream"
user = "ad min"
password = { env = "DOOR" }

[cameras.yard]
address = "https://box/video"
tls_host = "cam.local"
tls_fingerprint = "%s"

[cameras.yard.masks.window]
box = [0, 0, 0.25, 0.5]

[cameras.yard.masks.path]
polygon = [[0, 1], [1, 1], [0.5, 0.5]]

[states]
agree = "2/3"
dwell = 2
upper = 0.8
lower = 0.6
stale = 30.5

[mqtt]
url = "mqtts://broker/site"
user = "box"
password = { file = "mqtt.secret" }
qos = 0
retain = true
version = "3.1.1"
switches = true
discovery = "ha"

[webhook]
url = "https://box/hook"
headers = ["X-Key: {env:TOKEN}"]
queue = "waiting.sqlite"

[collect]
folder = "kept"
bytes = "1.5GB"
hourly = 20
random = 0.02
features = false
mask_faces = "faces.onnx"

[page]
port = 8080
token = { env = "TOKEN" }
allowed_hosts = ["box.example"]
"""


def plan(path: Path, *words: str) -> Any:
    from snow_deploy.cli.run_plan import plan_of

    context = run_command.make_context("run", ["--config", str(path), *words])
    with context.scope():
        return plan_of(context)


def test_each_key_is_what_its_option_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOOR", "p@ss/word")
    monkeypatch.setenv("TOKEN", "a-token-of-a-test")
    (tmp_path / "mqtt.secret").write_text("hunter2\n", encoding="utf-8")
    path = tmp_path / "snow.toml"
    path.write_text(WHOLE % ("ab" * 32), encoding="utf-8")

    found = plan(path)
    options = found.options
    assert str(found.model) == "snow.onnx"
    assert found.cameras == (
        ("door", "rtsp://ad%20min:p%40ss%2Fword@192.168.1.9:554/stream"),
        ("yard", "https://box/video"),
    )
    assert found.how["yard"].tls_host == "cam.local"
    assert found.loading["threads"] == 3
    assert (found.rules.needed, found.rules.frames, found.rules.stale_s) == (2, 3, 30.5)
    assert (found.rules.upper, found.rules.lower, found.rules.dwell_s) == (0.8, 0.6, 2.0)
    assert options.task_names == ("textures", "clothing")
    assert (options.every, options.min_confidence, options.frames) == (2, 0.0, 7)
    assert options.mqtt == "mqtts://box:hunter2@broker/site"
    assert (options.mqtt_qos, options.mqtt_retain, options.mqtt_version) == ("0", True, "3.1.1")
    assert (options.mqtt_switches, options.mqtt_discovery) == (True, "ha")
    assert (options.webhook, options.webhook_headers) == (
        "https://box/hook",
        ("X-Key: a-token-of-a-test",),
    )
    assert str(options.webhook_queue) == "waiting.sqlite"
    assert (str(options.collect), str(options.mask_faces)) == ("kept", "faces.onnx")
    kept = found.collecting
    assert (kept.size_bytes, kept.hourly, kept.random_share) == (1_500_000_000, 20, 0.02)
    assert kept.features is False
    assert found.masks == {
        "yard": (
            ((0.0, 0.0), (0.25, 0.0), (0.25, 0.5), (0.0, 0.5)),
            ((0.0, 1.0), (1.0, 1.0), (0.5, 0.5)),
        )
    }
    assert (options.port, options.token) == (8080, "a-token-of-a-test")
    assert options.allowed_hosts == ("box.example",)
    assert [str(each) for each in options.readouts] == ["more"]


def test_the_command_line_counts_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "snow.toml"
    path.write_text(f"every = 5\nframes = 9\n{CAMERA}", encoding="utf-8")

    found = plan(path, "other.onnx", "--every", "2", "--camera", "yard=/dev/video7")
    assert (found.options.every, found.options.frames) == (2, 9)
    assert found.cameras == (("yard", "/dev/video7"),)
    assert str(found.model) == "other.onnx"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (f"evry = 2\n{CAMERA}", ["line 1, evry: there is no such key, did you mean 'every'?"]),
        (f'every = "2"\n{CAMERA}', ["line 1, every: a text, expected a whole number"]),
        (f"every = true\n{CAMERA}", ["line 1, every: true or false, expected a whole number"]),
        (f"every = 0\n{CAMERA}", ["line 1, every: 0 is not in the range x>=1."]),
        (
            f"min_confidence = nan\n{CAMERA}",
            ["line 1, min_confidence: nan, expected a finite number"],
        ),
        (f'output = "csv"\n{CAMERA}', ["line 1, output: 'csv' is not one of"]),
        (f'readouts = "a"\n{CAMERA}', ["line 1, readouts: a text, expected a list of texts"]),
        ('[cameras]\ndoor = "x"', ["line 2, cameras.door: a text, expected a table"]),
        ("cameras = 3", ["line 1, cameras: 3, expected a table for each"]),
        ("[cameras.door]\nuser = 'x'", ["line 1, cameras.door: address is missing"]),
        (f"{CAMERA}[states]\nagree = '5'", ["line 4, states.agree: '5' is not N/M"]),
        (f"{CAMERA}[page]\ntoken = 'abc'", ["line 4, page.token: the secret itself, expected {"]),
        (f"{CAMERA}[page]\ntoken = {{ evn = 'a' }}", ["line 4, page.token: a table, expected {"]),
        (
            f"{CAMERA}user = 'me'\npassword = 'hunter2'",
            ["line 4, cameras.door.password: the secret itself, expected {"],
        ),
        (
            "[cameras.door]\naddress = 'rtsp://a:{env:B}@c/d'\nuser = 'me'",
            ["line 2, cameras.door.address: it has a login itself"],
        ),
        (
            "[cameras.door]\naddress = '/dev/video0'\nuser = 'me'",
            ["line 2, cameras.door.address: it is no address of a network"],
        ),
        (
            "[cameras.door]\naddress = 'rtsp://c/d'\npassword = { env = 'A' }",
            ["line 3, cameras.door.password: there is no user"],
        ),
        ("[cameras.'my door']\naddress = 'x'", ["line 1, cameras.my door: a camera's name"]),
        ("every = ", ["it is no TOML: "]),
        ("", ["Missing option '--camera'"]),
        (f"{CAMERA}[mqtt]\nurl = 'mqtt://a'", ["--output mqtt and --mqtt URL belong together"]),
        (
            f"output = 'mqtt'\n{CAMERA}[mqtt]\nurl = 'http://broker'",
            ["The MQTT broker's address is not one"],
        ),
        ("[cameras.door]\naddress = 'synthetic://?fps'", ["Cannot open the camera"]),
        (f"{CAMERA}[states]\nlower = 0.5", ["A state is to follow a lower threshold"]),
        (
            f"a = 1\nevery = 0\n{CAMERA}prot = 3\n[page]\nport = 99999",
            ["line 1, a: ", "line 2, every: 0", "line 5, cameras.door.prot", "line 7, page.port"],
        ),
    ],
)
def test_what_is_wrong_is_said_with_line_and_key(
    tmp_path: Path, text: str, faults: list[str]
) -> None:
    result = check(tmp_path, text)
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert len(lines) == len(faults), lines
    for line, fault in zip(lines, faults, strict=True):
        assert line.startswith(f"{tmp_path / 'snow.toml'}: {fault}"), line
    assert "hunter2" not in result.output


ASKED = """
[cameras.door]
address = "synthetic://?width=64&height=48&fps=0"

[cameras.door.views.latch]
box = [0, 0.25, 0.5, 1]
rotate = 90

[cameras.door.views.gate]
polygon = [[0.5, 0.1], [0.9, 0.4], [0.6, 0.7]]

[cameras.yard]
address = "synthetic://?width=64&height=48&fps=0"

[questions.latched]
task = "food"
camera = "door"
view = "latch"
agree = "1/1"
dwell = 0

[questions.weather]
task = "food"
seconds = 2.5
motion = 0.1
hold = 1
"""


def test_views_and_questions(tmp_path: Path) -> None:
    path = tmp_path / "snow.toml"
    path.write_text(f"{ASKED}[states]\nstale = 7", encoding="utf-8")
    found = plan(path)

    latched, door, yard = found.questions
    assert (latched.name, latched.task, latched.camera) == ("latched", "food", "door")
    assert (latched.view.name, latched.view.box) == ("latch", (0, 0.25, 0.5, 1))
    assert (latched.view.rotation, latched.seconds, latched.motion) == (90, 0, None)
    assert [door.camera, yard.camera] == ["door", "yard"]
    assert (door.seconds, door.motion, door.hold_s, door.view.name) == (2.5, 0.1, 1.0, "")
    assert found.needed == ("food",)
    own = found.own_rules["latched"]
    assert (own.needed, own.frames, own.dwell_s, own.stale_s) == (1, 1, 0, 7)
    assert list(found.own_rules) == ["latched"]


def test_the_page_is_told_of_views_that_nothing_asks_about_too(
    graph_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "snow.toml"
    path.write_text(f"{ASKED}[states]\nupper = 0.75", encoding="utf-8")
    found = plan(path)
    assert {name: [view.name for view in views] for name, views in found.views.items()} == {
        "door": ["latch", "gate"]
    }
    assert found.views["door"][0].polygon is None
    assert found.views["door"][1].polygon == ((0.5, 0.1), (0.9, 0.4), (0.6, 0.7))

    with SwappableModel(load(graph_path)) as model:
        loop = Loop(model, Cameras(), [])  # type: ignore[arg-type]
        chosen = setup_now(found, loop).to_dict()
        path.write_text(CAMERA, encoding="utf-8")
        every = setup_now(plan(path), loop).to_dict()
    tasks = chosen["tasks"]
    assert [(each["name"], each["camera"], each["view"]) for each in chosen["questions"]] == [
        ("latched", "door", "latch"),
        ("weather", "door", "whole"),
        ("weather", "yard", "whole"),
    ]
    assert [each["upper"] for each in chosen["questions"]] == [0.75] * 3
    assert (chosen["chosen"], every["chosen"], every["views"]) == (True, False, {})
    assert [(each["name"], each["task"], each["camera"]) for each in every["questions"]] == [
        (task, task, "door") for task in tasks
    ]
    assert "upper" not in every["questions"][0]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("V\nbox = [0, 0, 1]", "W.box: 3 numbers, expected left"),
        ("V\nbox = [0, 0, 2, 1]", "W: The view a has the box"),
        ("V\nrotate = 45", "W: The view a is turned by 45 degrees"),
        ("V", "W: expected a box, a polygon or"),
        ("[cameras.yard.views.whole]\nrotate = 90", "cameras.yard.views.whole: a view's name"),
        ("[cameras.yard.views.'']\nrotate = 90", "cameras.yard.views.: a view's name, expected"),
        ("V\nbox = 3", "W.box: 3, expected a list of numbers"),
        ("V\npolygon = [[0, 1]]", "W.polygon: expected three points"),
        ("V\npolygon = [0, 1]", "W.polygon: 0, expected a list of numbers"),
        ("[questions.a]\nview = 'latch'", "questions.a: task is missing"),
        ("Q\ncamera = 'dor'", "questions.a.camera: there is no camera"),
        ("Q\nview = 'latch'", "questions.a.view: the camera yard has no view"),
        ("Q\nagree = '4'", "questions.a.agree: '4' is not N/M"),
        ("Q\nmotion = 2", "questions.a: The question a is asked every"),
        ("[questions.'a b']\ntask = 'food'", "questions.a b: a question's name, expected"),
    ],
)
def test_views_and_questions_that_are_wrong(tmp_path: Path, more: str, fault: str) -> None:
    view, question = "[cameras.yard.views.a]", "[questions.a]\ntask = 'food'"
    more = more.replace("V", view, 1).replace("Q", question, 1)
    fault = fault.replace("W", "cameras.yard.views.a", 1)
    result = check(tmp_path, f"{ASKED}[states]\n{more}")
    (line,) = result.stdout.splitlines()
    assert fault in line
    assert ": line " in line
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("words", "states", "said"),
    [
        (["--tasks", "food"], "[states]", "chosen by the questions"),
        (["--camera", "door=/dev/video0"], "[states]", "asks about yard, and --camera names no"),
        ([], "", "The questions latched have rules for states, and none are kept"),
    ],
)
def test_options_that_questions_do_not_fit(
    tmp_path: Path, words: list[str], states: str, said: str
) -> None:
    path = tmp_path / "snow.toml"
    path.write_text(f"{ASKED}{states}", encoding="utf-8")
    result = call("run", "--config", path, *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_run_asks_questions_about_views(graph_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = tmp_path / "snow.toml"
    text = f"model = '{graph_path}'\nframes = 4\n{ASKED}[states]"
    path.write_text(text, encoding="utf-8")
    result = call("run", "--config", path)
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    answers = [line for line in lines if "event" not in line]
    assert len(answers) == 4
    assert set(answers[0]["tasks"]) <= {"latched", "weather"}
    assert set(next(each for each in answers if each["camera"] == "door")["views"]) >= {"latch"}
    assert {line["question"] for line in lines if "event" in line} >= {"latched"}
    assert "view door/latch: " in result.stderr

    path.write_text(text.replace('"food"', '"drink"'), encoding="utf-8")
    result = call("run", "--config", path)
    assert "has no task drink, which questions ask for, expected some of food" in result.stderr


def test_run_says_all_faults_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "snow.toml"
    path.write_text(f"a = 1\nevery = 0\n{CAMERA}", encoding="utf-8")
    result = call("run", "--config", path)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {path} has 2 faults: line 1, a: ")
    assert "; line 2, every: 0 is not in the range" in line


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('[cameras.door]\naddress = "rstp://host/stream"\n', "rstp:// is not known"),
        ('[cameras.door]\naddress = "v4l2:///dev/video0?widht=640"\n', "widht"),
        ('[cameras.door]\naddress = "v4l2:///dev/video0?fourcc=MJPEG"\n', "fourcc has 5 signs"),
        (f'{CAMERA}[page]\nport = 8080\nhost = "0.0.0.0"\ntoken = {{ file = "short" }}\n', ""),
        (f'output = "mqtt"\n{CAMERA}[mqtt]\nurl = "mqtt://broker"\nca = "ca.pem"\n', "without TLS"),
    ],
)
def test_what_its_text_alone_is_wrong_in_is_said_before_anything_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("abcde", encoding="utf-8")
    result = check(tmp_path, more if "output" in more else f'output = "none"\n{more}')
    assert result.exit_code == 1, result.output
    assert (fault or "5 characters were given") in result.output


def test_numbers_of_an_address_may_be_secrets_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("W", raising=False)
    text = '[cameras.door]\naddress = "v4l2:///dev/video0?width={env:W}"\n'
    assert check(tmp_path, f'output = "none"\n{text}').exit_code == 0


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = call("run", "--config", tmp_path / "nowhere.toml")
    assert result.exit_code == 1
    assert "nowhere.toml has a fault: it cannot be read: " in result.stderr


def test_a_secret_that_is_the_services_alone_is_no_fault(tmp_path: Path) -> None:
    text = "[cameras.door]\naddress = 'rtsp://c/d'\nuser = 'me'\npassword = { file = 'nowhere' }"
    result = check(tmp_path, text)
    assert result.exit_code == 0, result.output
    assert "note: {file:nowhere} names a file that cannot be read" in result.stderr


def test_a_password_in_an_address_is_warned_of(tmp_path: Path) -> None:
    result = check(tmp_path, "[cameras.door]\naddress = 'rtsp://me:hunter2@c/d'")
    assert result.exit_code == 0, result.output
    assert "warning: a password or token stands in the configuration file" in result.stderr
    assert "hunter2" not in result.output


def test_run_by_a_file_alone(graph_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = tmp_path / "snow.toml"
    states = '[states]\nagree = "1/1"'
    path.write_text(f"model = '{graph_path}'\nframes = 3\n{CAMERA}{states}", encoding="utf-8")
    result = call("run", "--config", path)
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("event") for line in lines].count("state") == 1
    assert len(lines) == 4


def test_lines_of_keys() -> None:
    lines = key_lines(
        'a = 1\n[t."x y"]  # a table\nb.c = """\nno = key\n"""\nd = [\n  "e = f",\n]\n[[u]]\ng = 1'
    )
    assert line_of(lines, ("a",)) == 1
    assert line_of(lines, ("t", "x y")) == 2
    assert line_of(lines, ("t", "x y", "b", "c")) == 3
    assert line_of(lines, ("t", "x y", "b", "c", "deeper")) == 3
    assert line_of(lines, ("t", "x y", "no")) == 2
    assert line_of(lines, ("t", "x y", "d")) == 6
    assert line_of(lines, ("u", "g")) == 10
    assert line_of(lines, ("nowhere",)) is None


@pytest.mark.parametrize("name", ["a = b", 'a"b', "a\\b", "a]b", "#a", "a.b", "\x85", "\u2028"])
def test_lines_of_tables_with_odd_names(name: str) -> None:
    lines = key_lines(f"[t.{json.dumps(name, ensure_ascii=False)}]\nbox = 1\n[u]\nbox = 2")
    assert [line_of(lines, where) for where in (("t", name), ("t", name, "box"), ("u", "box"))] == [
        1,
        2,
        4,
    ]


def test_a_group_that_only_checks() -> None:
    group = main.get_command(click.Context(main), "config")
    assert isinstance(group, click.Group)
    assert list(group.commands) == ["check"]


def test_a_check_looks_at_the_webhook(tmp_path: Path) -> None:
    path = tmp_path / "snow.toml"
    path.write_text(f"{CAMERA}[webhook]\nurl = 'box/hook'\n", encoding="utf-8")
    result = call("config", "check", path)
    assert result.exit_code == 1
    assert "The webhook's address is not one" in result.output.replace("\n", " ")
