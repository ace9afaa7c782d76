"""The options of `run` for a webhook, and what comes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from tests.runtime.app.outputs.test_webhook import Receiver

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

pytest.importorskip("cv2")
CAMERA = "door=synthetic://?width=64&height=48&fps=0"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def test_events_are_posted_with_a_secret_header(
    graph_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "hush")
    receiver = Receiver()
    hook = ["--webhook", f"http://127.0.0.1:{receiver.server_port}/x"]
    hook += ["--webhook-header", "Authorization: Bearer {env:HOOK}"]
    hook += ["--webhook-queue", str(tmp_path / "queue.sqlite")]
    quick = ["--state-agree", "1/1", "--state-dwell", 0, "--output", "none"]
    result = run(graph_path, "--camera", CAMERA, "--frames", 3, *hook, *quick)
    receiver.end()
    assert result.exit_code == 0, result.stderr
    assert "warning" not in result.stderr
    assert receiver.got
    assert receiver.got[0][1]["Authorization"] == "Bearer hush"
    assert "hush" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--webhook-header", "X: y"], "--webhook-header is for --webhook"),
        (["--webhook-queue", "q"], "--webhook-queue is for --webhook"),
        (["--webhook", "nowhere"], "The webhook's address is not one"),
        (["--webhook", "http://h", "--webhook-header", "X"], "expected NAME: VALUE"),
        (["--webhook", "http://h", "--webhook-header", "X-Token: abc"], "warning: a password"),
        (["--webhook", "http://h/{env:NO_SUCH_ONE}"], "names a variable that is not set"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(tmp_path / "none.onnx", "--camera", CAMERA, *arguments, *["--output", "none"])
    assert result.exit_code in {1, 2}
    assert message in result.stderr.replace("\n", " ")
