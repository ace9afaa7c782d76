"""The guide's table of metrics has those that a running loop writes, and no other."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from snow_runtime.app.stats import Stats
from snow_runtime.cameras.status import State
from tests.docs.blocks import GUIDE, ROOT

pytest.importorskip("prometheus_client")

# What `snow-deploy run` tells of a camera beside its state.
OF_A_CAMERA = [
    "frames",
    "drops",
    "reconnections",
    "bad_frames",
    "repeats",
    "freezes",
    "size_changes",
    "abandoned",
    "lost_s",
    "connected",
    "code",
]
PAGE = ROOT / GUIDE / "getting-started-fleet.md"


def rows(heading: str) -> str:
    """Return the table below a row of headings, with it."""
    text = PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf"^\| {heading} \|.*\n(?:\|.*\n)+", text, re.MULTILINE)
    return str(found)


def test_the_metrics_are_those_of_the_code() -> None:
    from prometheus_client import parser

    from snow_runtime.app.prometheus import write_metrics

    stats = Stats()
    stats.record_answered("door", 1.0, 1.0)
    stats.count("errors")
    row = {"camera": "door", "question": "open", "drifted": True, "share": 0.9}
    stats.drift = lambda: [row]
    camera = {"state": "connected", **dict.fromkeys(OF_A_CAMERA, 1)}
    written, _ = write_metrics(stats.snapshot(), {"door": camera})
    families = parser.text_string_to_metric_families(written.decode())
    names = {sample.name for family in families for sample in family.samples}

    assert set(re.findall(r"`(snow_\w+)`", rows("metric"))) == names
    assert set(get_args(State)) <= set(re.findall(r"`(\w+)`", rows("metric")))


def test_the_events_are_those_that_are_counted() -> None:
    source = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("app", "collection")
        for path in (ROOT / "runtime" / "snow_runtime" / folder).rglob("*.py")
    )
    counted = set(re.findall(r"(?:count|_leave_out)\(\s*\"(\w+)\"", source))

    assert set(re.findall(r"`(\w+)`", rows("`what`"))) - {"what"} == counted
