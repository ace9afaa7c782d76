"""`fleet`: the table tells the truth, also of boxes that say nothing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.statuses import ask_broker
from snow_runtime.app.outputs.box_status import BoxStatusPublisher
from snow_runtime.update.status import BoxStatus
from tests.runtime.app.mosquitto import brokers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from tests.runtime.app.mosquitto import Start


def status(box: str, minutes: float = 0.0, **more: Any) -> BoxStatus:
    written = datetime.now(timezone.utc) - timedelta(minutes=minutes)
    given = {"format": 1, "state": "settled", "every_s": 300.0, "release": "r1", "wanted": "r1"}
    return BoxStatus(box=box, written=written.isoformat(), **{**given, **more})


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fleet", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "statuses"
    found.mkdir()
    for number, each in enumerate(
        [
            status("a"),
            status("b", state="failed", wanted="r2", error="r2 <is> too slow"),
            status("c", 60.0),
            status("c", 90.0, release="r0"),  # an older one of the same box
            status("d", 60.0, state="ended"),
        ]
    ):
        (found / f"{number}.json").write_text(each.to_json(), encoding="utf-8")
    return found


def test_the_table(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.txt").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    page = tmp_path / "page.html"
    result = call("--status", folder, "--expect", tmp_path / "boxes.txt", "--page", page)
    assert result.exit_code == 1
    rows = [line.split()[:4] for line in result.stdout.splitlines()]
    assert rows == [
        ["box", "release", "wanted", "state"],
        ["a", "r1", "r1", "settled"],
        ["b", "r1", "r2", "failed"],
        ["c", "r1", "r1", "missing"],
        ["d", "r1", "r1", "ended"],
        ["e", "-", "-", "unknown"],
        ["1", "of", "5", "boxes"],
    ]
    text = page.read_text(encoding="utf-8")
    assert "1 of 5 boxes do well" in text
    assert "r2 &lt;is&gt; too slow" in text
    assert "http" not in text


def test_as_json_and_all_well(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(status("a").to_json(), encoding="utf-8")
    result = call("--status", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert (row["box"], row["well"], row["state"]) == ("a", True, "settled")


def test_what_is_no_status(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    result = call("--status", tmp_path)
    assert result.exit_code == 1
    assert "is no status of a box" in result.output
    assert call().exit_code == 2


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Start]:
    pytest.importorskip("paho.mqtt.client")
    yield from brokers(tmp_path)


def test_a_broker_keeps_what_boxes_tell(broker: Start) -> None:
    port = broker("allow_anonymous true")
    url = f"mqtt://127.0.0.1:{port}/site"
    publisher = BoxStatusPublisher(url)
    told = [status("a", 1.0), status("a"), status("b", state="full")]
    for each in told:
        publisher.put(each)
        publisher.close()
    assert ask_broker(url, wait_s=0.5) == told[1:]
    result = call("--mqtt", url)
    assert result.exit_code == 1
    assert "1 of 2 boxes do well" in result.stdout


def test_a_broker_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("paho.mqtt.client")
    url = "mqtt://127.0.0.1:1/site"
    with pytest.raises(PublishError, match="cannot be reached"):
        ask_broker(url)
    publisher = BoxStatusPublisher(url)
    for _ in range(2):
        publisher.put(status("a"))
        publisher.close()
    assert caplog.text.count("does not get the status") == 1
