"""Configuration files as editors, typing mistakes and secrets make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click
import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.cli.run import command as run_command
from snow_deploy.cli.run_plan import RunPlan, plan_of
from snow_deploy.cli.run_session import RunSession
from snow_deploy.cli.signals import Signals
from snow_deploy.cli.systemd import ServiceManager
from snow_deploy.cli.webhook_options import webhook_target

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from snow_runtime.app.loop import Loop

CAMERA = '[cameras.door]\naddress = "synthetic://?width=64&height=48&fps=0"\n'
BROKER = f'output = "mqtt"\n{CAMERA}[mqtt]\nurl = "mqtt://broker"\nretain = true\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snow.toml"


def check(path: Path, content: str | bytes) -> Result:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return CliRunner().invoke(main, ["config", "check", str(path)])


def plan(path: Path, content: str, *words: str) -> RunPlan:
    path.write_text(content, encoding="utf-8")
    context = run_command.make_context("run", ["--config", str(path), *words])
    with context.scope():
        return plan_of(context)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + CAMERA.encode(),
        CAMERA.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + CAMERA.replace("\n", "\r\n").encode(),
    ],
)
def test_a_file_of_an_editor_of_windows_is_right(path: Path, content: bytes) -> None:
    result = check(path, content)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CAMERA.encode("utf-16"), "it is no text in UTF-8 (invalid start byte at byte 0); save"),
        ("# für\n".encode("latin-1"), "it is no text in UTF-8 ("),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "lie too deep within each other"),
        (b"a = " + b"{ a = " * 5000 + b"1" + b"}" * 5000, "lie too deep within each other"),
    ],
)
def test_what_is_no_toml_is_said_without_a_traceback(path: Path, content: bytes, said: str) -> None:
    result = check(path, content)
    assert isinstance(result.exception, SystemExit)
    (line,) = result.output.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f'{CAMERA}[cameras.yard]\naddress = ""', "line 4, cameras.yard.address: an empty text"),
        (f'{CAMERA}[questions.a]\ntask = ""', "line 4, questions.a.task: an empty text"),
        (f"{BROKER}topic = 1\n", "line 7, mqtt.topic: there is no such key"),
        (f'{CAMERA}[mqtt]\nurl = ""', "line 4, mqtt.url: an empty text"),
        (f'readouts = [""]\n{CAMERA}', "line 1, readouts: an empty text"),
        (f'model = ""\n{CAMERA}', "line 1, model: an empty text"),
        (f'model = "a\\u0000b"\n{CAMERA}', "line 1, model: a NUL within it"),
        (f'record = "a\\u0000b"\n{CAMERA}', "line 1, record: a NUL within it"),
        (f"tasks = []\n{CAMERA}", "--tasks names none"),
        (f"threads = 99999999999\n{CAMERA}", "line 1, threads: 99999999999 is not in the range"),
        (
            f"{CAMERA}[cameras.door.views.a]\npolygon = [[0.1, 0.1], [nan, 0.5], [0.3, 0.6]]",
            "line 4, cameras.door.views.a.polygon: nan, expected a finite number",
        ),
        (
            f'{CAMERA}[questions.a]\ntask = "t"\nhold = 3',
            "line 5, questions.a.hold: there is no motion",
        ),
        (
            f'{CAMERA}[states]\n[questions.b]\ntask = "t"\nlower = 0.9',
            "questions.b, with what [states] says of all: A state is to follow a lower threshold",
        ),
        (f"# \u2028\u0085\nevery = 0\n{CAMERA}", "line 2, every: 0 is not in"),
    ],
)  # fmt: skip
def test_what_would_be_passed_over_is_a_fault(path: Path, text: str, fault: str) -> None:
    result = check(path, text)
    assert isinstance(result.exception, SystemExit), result.exception
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{path}: {fault}")


@pytest.mark.parametrize("secret", ['{ file = "/run/{a}" }', '{ env = "A}B" }', '{ env = "A{" }'])
def test_a_secret_that_cannot_be_looked_up_is_no_password_itself(path: Path, secret: str) -> None:
    result = check(path, f"{CAMERA}[page]\nport = 0\ntoken = {secret}")
    assert result.exit_code == 1
    assert "line 5, page.token: a brace or a NUL in the name" in result.output


def test_a_login_may_be_secret_as_a_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "me@home")
    monkeypatch.setenv("PASSWORD", "a/b c")
    camera = '[cameras.door]\naddress = "rtsp://c/d"\nuser = "x+{env:WHO}"\n'
    found = plan(path, camera + 'password = { env = "PASSWORD" }')
    assert found.cameras == (("door", "rtsp://x%2Bme%40home:a%2Fb%20c@c/d"),)


def test_an_address_may_be_secret_as_a_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR", "rtsp://me:a%2Fb@c/d?e=f")
    monkeypatch.setenv("BROKER", "mqtts://box:pass@broker/site")
    monkeypatch.setenv("HOOK", "https://hooks.example/T1/B2?x=1")
    found = plan(
        path,
        'output = "mqtt"\n[cameras.door]\naddress = "{env:DOOR}"\n[mqtt]\nurl = "{env:BROKER}"\n'
        '[webhook]\nurl = "{env:HOOK}"\n',
    )
    assert found.cameras == (("door", "rtsp://me:a%2Fb@c/d?e=f"),)
    assert found.options.mqtt == "mqtts://box:pass@broker/site"
    target = webhook_target(found.options)
    assert (target.host, target.path) == ("hooks.example", "/T1/B2?x=1")

    typed = plan(path, CAMERA, "--camera", "{env:DOOR}")
    assert typed.cameras == (("camera0", "rtsp://me:a%2Fb@c/d?e=f"),)


def test_a_check_looks_at_what_is_around_secrets_that_it_cannot_read(path: Path) -> None:
    camera = '[cameras.door]\naddress = "rtsp://me:{env:NOT_SET}@c/d"\n'
    right = f'{camera}[webhook]\nurl = "https://{{env:NOT_SET}}:{{env:NOT_SET}}/x"\n'
    result = check(path, right)
    assert result.exit_code == 0, result.output
    assert "note: {env:NOT_SET} names a variable that is not set" in result.stderr

    whole = check(path, '[cameras.door]\naddress = "{env:NOT_SET}"\n')
    assert whole.exit_code == 0, whole.output

    for wrong, said in (
        ('[webhook]\nurl = "ftp://box/hook"\n', "The webhook's address is not one"),
        ('[webhook]\nurl = "https://box/x"\nheaders = ["abc {env:NOT_SET}"]\n', "A header of"),
        ('[cameras.yard]\naddress = "synthetic://?fps"\n', "Cannot open the camera"),
    ):
        result = check(path, camera + wrong)
        assert result.exit_code == 1, result.output
        assert said in result.stdout

    remote = f'model = "grpcs://box/snow?token={{env:NOT_SET}}"\n{CAMERA}'
    assert "note: {env:NOT_SET} names" in check(path, remote).stderr
    assert "has no TLS" in check(path, remote.replace("grpcs", "grpc")).stdout


def test_states_may_be_left_off_with_their_numbers_in_the_file(path: Path) -> None:
    question = '[questions.a]\ntask = "food"\nagree = "1/1"\n'
    text = f'{CAMERA}{question}[states]\nenabled = false\nagree = "2/3"\ndwell = 3\n'
    assert plan(path, text).rules is None
    rules = plan(path, text, "--states").rules
    assert rules is not None
    assert (rules.needed, rules.frames, rules.dwell_s) == (2, 3, 3)

    with pytest.raises(click.UsageError, match="--state-dwell is for --states"):
        plan(path, CAMERA, "--state-dwell", "3")


def test_the_command_line_sends_answers_elsewhere_than_to_the_files_broker(path: Path) -> None:
    assert plan(path, BROKER).options.mqtt == "mqtt://broker"
    discovered = f'{BROKER}discovery = "homeassistant"\n[states]\n'
    for output in ("jsonl", "none"):
        found = plan(path, discovered, "--output", output)
        assert (found.options.output, found.options.mqtt) == (output, None)
    with pytest.raises(click.UsageError, match="--mqtt-retain is for --output mqtt"):
        plan(path, BROKER, "--output", "none", "--mqtt-retain")
    with pytest.raises(click.UsageError, match="belong together"):
        plan(path, BROKER, "--output", "none", "--mqtt", "mqtt://other")


def test_whatever_a_new_file_does_the_old_configuration_stays(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def again() -> RunPlan:
        msg = "a defect"
        raise ValueError(msg)

    session = RunSession(plan(path, CAMERA), Signals(), ServiceManager(), again)
    session._reload(cast("Loop", None))
    assert "error: the old configuration stays: a defect" in capsys.readouterr().err


class OpensOnce(RunSession):
    """A session whose second plan cannot be opened, for a reason that nobody thought of."""

    def __init__(self, first: RunPlan, second: RunPlan, error: Exception) -> None:
        super().__init__(first, Signals(), ServiceManager())
        self._second, self._error = second, error
        self.opened: list[RunPlan] = []

    def _run(self, stack: object) -> None:
        del stack
        self.opened.append(self._plan)
        if self._plan is self._second:
            raise self._error
        self._next = self._second if len(self.opened) == 1 else None
        self._ran = self._plan


def test_whatever_a_new_plan_runs_into_the_old_one_runs_again(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = plan(path, CAMERA), plan(path, f"every = 2\n{CAMERA}")
    session = OpensOnce(first, second, OSError(28, "No space left on device"))
    session.run()
    assert session.opened == [first, second, first]
    assert "the old configuration stays: [Errno 28] No space left" in capsys.readouterr().err

    ended = OpensOnce(first, second, click.exceptions.Exit(0))
    with pytest.raises(click.exceptions.Exit):
        ended.run()
    with pytest.raises(OSError, match="No space"):
        OpensOnce(second, second, OSError(28, "No space left on device")).run()
