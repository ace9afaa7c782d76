from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.app.stats import Stats
from snow_runtime.cameras.status import State

if TYPE_CHECKING:
    from collections.abc import Mapping

pytest.importorskip("prometheus_client")

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from snow_runtime.app.prometheus import write_metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
PLAIN, OPEN = "", "application/openmetrics-text; version=1.0.0"
EMPTY = Stats().snapshot()


def scrape(
    stats: Mapping[str, Any], cameras: Mapping[str, Mapping[str, Any]], accept: str = PLAIN
) -> tuple[dict[str, str], Samples]:
    """Read metrics as Prometheus does: the types by name, and the values by name and labels."""
    content, media_type = write_metrics(stats, cameras, accept)
    plain = media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert plain or media_type.startswith("application/openmetrics-text; version=1.0.0")
    reader = parser if plain else openmetrics_parser
    families = list(reader.text_string_to_metric_families(content.decode()))
    assert all(family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    found = {(it.name, tuple(sorted(it.labels.items()))): it.value for it in samples}
    assert len(found) == len(samples)
    return {family.name: family.type for family in families}, found


@pytest.mark.parametrize("accept", [PLAIN, OPEN])
@given(names=st.lists(st.text(max_size=12), min_size=1, max_size=3, unique=True), what=st.text())
def test_a_name_of_any_signs_comes_back(accept: str, names: list[str], what: str) -> None:
    stats = Stats()
    for name in names:
        stats.record_answered(name, 5.0, 20.0)
    stats.count(what, 3)
    rows = {
        name: {"frames": 9 + place, "drops": 2, "connected": 1, "state": "frozen"}
        for place, name in enumerate(names)
    }

    types, samples = scrape(stats.snapshot(), rows, accept)

    assert types["snow_camera_frames"] == types["snow_events"] == "counter"
    assert types["snow_camera_connected"] == types["snow_latency_ms"] == "gauge"
    assert samples["snow_events_total", (("what", what),)] == 3
    assert samples["snow_latency_ms", (("quantile", "0.5"),)] == 5
    for place, name in enumerate(names):
        assert samples["snow_camera_frames_total", (("camera", name),)] == 9 + place
        assert samples["snow_frames_answered_total", (("camera", name),)] == 1
        assert samples["snow_camera_state", (("camera", name), ("state", "frozen"))] == 1


@pytest.mark.parametrize("accept", [PLAIN, OPEN])
@given(count=st.integers(0, 2**53), seconds=st.floats(0, 1e12))
def test_every_digit_arrives(accept: str, count: int, seconds: float) -> None:
    """A counter that is rounded stands still, then jumps."""
    stats = {**EMPTY, "up_s": seconds, "counts": {"errors": count}}
    row = {"frames": count, "repeats": 7, "abandoned": 3, "lost_s": seconds}

    _, samples = scrape(stats, {"a": row}, accept)

    door = (("camera", "a"),)
    assert samples["snow_events_total", (("what", "errors"),)] == count
    assert samples["snow_up_seconds", ()] == seconds
    assert samples["snow_camera_frames_total", door] == count
    assert samples["snow_camera_repeats_total", door] == 7
    assert samples["snow_camera_abandoned_reads_total", door] == 3
    assert samples["snow_camera_lost_seconds_total", door] == seconds


def test_a_camera_s_state_and_what_it_answered() -> None:
    rows: dict[str, dict[str, object]] = {
        "door": {"state": "failed", "code": 401, "freezes": 0},
        "yard": {"state": "frozen", "code": None, "freezes": 2},
    }

    _, samples = scrape(EMPTY, rows)

    assert samples["snow_camera_answer_code", (("camera", "door"),)] == 401
    assert samples["snow_camera_answer_code", (("camera", "yard"),)] == 0
    assert samples["snow_camera_freezes_total", (("camera", "yard"),)] == 2
    states = {labels: value for (name, labels), value in samples.items() if name.endswith("state")}
    assert {labels for labels, value in states.items() if value == 1} == {
        (("camera", "door"), ("state", "failed")),
        (("camera", "yard"), ("state", "frozen")),
    }
    assert len(states) == 2 * len(get_args(State))


def test_what_has_no_value_yet_is_left_out() -> None:
    types, samples = scrape(EMPTY, {})

    assert "snow_latency_ms" not in types
    assert {name for name, _ in samples} == {
        "snow_up_seconds",
        "snow_idle_seconds",
        "snow_frames_per_second",
    }


@pytest.mark.parametrize("version", ["abc", "1.x", '"1.0.0"', "1.0.0-rc1", "9" * 5000, "é", "..."])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_a_version_that_is_none_gets_the_plain_format(kind: str, version: str) -> None:
    _, media_type = write_metrics(EMPTY, {}, f"{kind};version={version}")

    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
