from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

pytest.importorskip("cv2")
CAMERA = "door=synthetic://?width=64&height=48&fps=0"
FAST = ("--state-agree", "1/1", "--state-dwell", 0)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_lines_show_states_and_events(graph_path: Path) -> None:
    found = lines(run(graph_path, "--camera", CAMERA, "--frames", 3, "--states", *FAST))

    first, event, *_ = found
    assert first["states"]["food"]["state"] == first["tasks"]["food"]["label"]
    assert (event["event"], event["camera"], event["question"]) == ("state", "door", "food")
    assert event["evidence"]["frame"] == first["frame"]
    assert sum("event" not in line for line in found) == 3


def test_events_alone(graph_path: Path) -> None:
    arguments = [graph_path, "--camera", CAMERA, "--frames", 3, "--output", "events"]
    found = lines(run(*arguments, *FAST))
    assert found
    assert all(line["event"] == "state" for line in found)


def test_without_states_nothing_of_them_is_said(graph_path: Path) -> None:
    found = lines(run(graph_path, "--camera", CAMERA, "--frames", 2))
    assert all("states" not in line and "event" not in line for line in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--state-dwell", 3], "--state-dwell is for --states"),
        (["--states", "--state-agree", "4"], "is not N/M"),
        (["--states", "--state-agree", "2/5"], "2 of 5 answers, expected more than half"),
        (["--states", "--state-upper", "0.4", "--state-lower", "0.5"], "the lower one not above"),
        (["--states", "--state-lower", "0.5"], "expected both"),
        (["--states", "--state-stale", "0"], "0.0 is not in the range"),
    ],
)
def test_options_that_do_not_fit(graph_path: Path, arguments: list[Any], message: str) -> None:
    result = run(graph_path, "--camera", CAMERA, *arguments)
    assert result.exit_code in {1, 2}
    assert message in result.stderr.replace("\n", " ")
