"""`fleet`: the table tells the truth, also of boxes that say nothing."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_deploy.fleet.errors import PublishError
from snow_deploy.fleet.overview import overview
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
    assert "Gather it again, or take it away." in result.output
    (tmp_path / "a.json").unlink()
    (tmp_path / "a.json").mkdir()
    result = call("--status", tmp_path)
    assert result.exit_code == 1
    assert "a.json cannot be read: [Errno 21] Is a directory" in result.output
    result = call("--status", tmp_path / "nowhere")  # no box at all would be one that does well
    assert result.exit_code == 1
    assert "nowhere is no folder, expected one with status.json files" in result.output
    assert call().exit_code == 2


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Start]:
    pytest.importorskip("paho.mqtt.client")
    yield from brokers(tmp_path)


def test_a_broker_keeps_what_boxes_tell(broker: Start, caplog: pytest.LogCaptureFixture) -> None:
    port = broker("allow_anonymous true")
    url = f"mqtt://127.0.0.1:{port}/site"
    publisher = BoxStatusPublisher(url)
    told = [status("a", 1.0), status("a"), status("b", state="full")]
    for each in told:
        publisher.put(each)
        publisher.close()
    assert not caplog.text  # a status that was kept is nothing to report
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


def test_a_box_whose_clock_is_ahead_is_not_called_well() -> None:
    """Whether it still tells anything, nobody knows; a clock that is behind makes it missing."""
    rows = {
        row.box: (row.state, row.well, row.silent_s)
        for row in overview(
            [status("ahead", -60 * 24 * 2000), status("little", -2.0), status("behind", 6e7)]
        )
    }
    assert rows["ahead"] == ("clock", False, None)
    assert rows["little"] == ("settled", True, 0.0)
    assert rows["behind"][:2] == ("missing", False)
    (row,) = overview([status("ahead", -600.0, error="too slow")])
    assert "its clock is ahead" in str(row.error)
    assert "too slow" in str(row.error)


@pytest.mark.parametrize(
    "bad", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "\x1b[31m"]
)
def test_nothing_that_a_box_tells_becomes_code(tmp_path: Path, bad: str) -> None:
    told = status(bad, state="failed", error=bad, release=bad, wanted=bad, version=bad, tags=[bad])
    (tmp_path / "a.json").write_text(told.to_json(), encoding="utf-8")
    page = tmp_path / "page.html"
    result = call("--status", tmp_path, "--page", page)
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout
    text = page.read_text(encoding="utf-8")
    assert bad not in text or bad == "\x1b[31m"
    assert text.count("<script") == text.count("<img") == 0
    assert text.count("<tr") == 2


def test_a_box_tells_of_itself_alone(broker: Start, caplog: pytest.LogCaptureFixture) -> None:
    from paho.mqtt import publish

    port = broker("allow_anonymous true")
    url = f"mqtt://127.0.0.1:{port}/site"
    forged = status("b", release="evil").to_json()
    for box, payload in (
        ("a", status("a").to_json()),
        ("b", status("b", state="failed", error="it crashed").to_json()),
        ("c", forged),  # by a box that may write to its own topic alone
        ("d", "no status"),
        ("e", "x" * 200_000),
        ("f", ""),
    ):
        topic = f"site/fleet/{box}"
        publish.single(topic, payload, qos=1, retain=True, hostname="127.0.0.1", port=port)
    found = {each.box: (each.release, each.state) for each in ask_broker(url, wait_s=0.3)}
    assert found == {"a": ("r1", "settled"), "b": ("r1", "failed")}
    assert "site/fleet/c says is left out: it tells of the box 'b'" in caplog.text
    assert "site/fleet/d says is left out" in caplog.text
    assert "expected 131072 or less" in caplog.text


def test_boxes_that_tell_without_an_end_hold_up_no_table(broker: Start) -> None:
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    port = broker("allow_anonymous true")
    ended = threading.Event()

    def tell() -> None:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        number = 0
        while not ended.wait(0.02):
            number += 1
            client.publish(f"site/fleet/{number % 20}", status(str(number % 20)).to_json())
        client.loop_stop()

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        assert ask_broker(f"mqtt://127.0.0.1:{port}/site", wait_s=0.5)
    finally:
        ended.set()
        teller.join()


def test_the_ids_of_boxes_are_read(tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "ids", tmp_path / "nothing"):
        result = call("--status", tmp_path, "--expect", path)
        assert result.exit_code == 1
        assert "cannot be read" in result.output
