from __future__ import annotations

import json
import re
from collections import Counter
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.app.outputs.mqtt import Mqtt
from snow_runtime.app.outputs.mqtt_states import MqttStates
from snow_runtime.app.outputs.mqtt_topics import SiteTopics, camera_part, topic_part
from snow_runtime.app.states.event import Change, StateEvent, StateNews, StateNow
from snow_runtime.cameras.clock import Instant
from snow_runtime.drift.event import DriftEvent
from snow_runtime.drift.watch import DriftNow
from tests.runtime.app.frames import answer_of


def event(before: str, after: str, camera: str = "door", label: str | None = None) -> StateEvent:
    change = Change(before, after, "answers", Instant(1.0, 2.0), None)
    return StateEvent(camera, "food", label, change)


def news(*states: tuple[str, str | None, str], events: tuple[StateEvent, ...] = ()) -> StateNews:
    return StateNews(events, tuple(StateNow(c, "food", lab, s, 2.0) for c, lab, s in states))


class Client:
    """A client whose broker acknowledges when the test says so."""

    def __init__(self) -> None:
        self.connected, self.mid = False, 0
        self.sent: list[tuple[str, str, bool]] = []
        self.open: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_given, **_named: None

    def is_connected(self) -> bool:
        return self.connected

    def publish(self, topic: str, payload: str, qos: int, retain: bool) -> Any:
        self.mid += 1
        assert qos == 1
        done: list[bool] = []
        record = SimpleNamespace(rc=0, mid=self.mid, is_published=lambda: bool(done), done=done)
        if not topic.endswith("/status"):
            self.sent.append((topic, payload, retain))
            self.open.append(record)
        return record

    def connects(self) -> None:
        self.connected = True
        self.on_connect(self, None, None, type("Ok", (str,), {"is_failure": False})(), None)

    def acknowledges(self) -> None:
        for record in self.open:
            self.on_publish(self, None, record.mid, None, None)
            record.done.append(True)
        self.open = []

    def disconnects(self) -> None:
        self.connected, self.open = False, []
        self.on_disconnect(self, None, None, "gone", None)
        self.on_pre_connect(self, None)

    def new(self) -> list[tuple[str, str, bool]]:
        found, self.sent = self.sent, []
        return found


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def output(client: Client, counts: Counter[str]) -> Mqtt:
    return Mqtt("mqtt://broker/site", lambda what: counts.update([what]), client=client)


def payloads(sent: list[tuple[str, str, bool]]) -> list[str]:
    return [json.loads(text)["after"] for topic, text, _ in sent if topic.endswith("/event")]


def test_states_are_kept_by_the_broker_and_events_are_not(output: Mqtt, client: Client) -> None:
    client.connects()
    change = event("stale", "soup")
    output.tell(news(("door", None, "soup"), ("yard", None, "stale"), events=(change,)))

    assert client.new() == [
        ("site/door/state/food", "soup", True),
        ("site/yard/state/food", "stale", True),
        ("site/door/event", json.dumps(change.to_dict()), False),
    ]
    output.tell(news(("door", None, "soup"), ("yard", None, "tea")))
    assert client.new() == [("site/yard/state/food", "tea", True)]


def test_each_of_several_labels_has_its_topic(output: Mqtt, client: Client) -> None:
    client.connects()
    output.tell(news(("status", "hot/cold", "on"), ("status", "a+b", "off")))
    assert client.new() == [
        ("site/%73tatus/state/food/hot%2Fcold", "on", True),
        ("site/%73tatus/state/food/a%2Bb", "off", True),
    ]


def test_a_state_that_is_kept_no_more_leaves_the_broker(output: Mqtt, client: Client) -> None:
    client.connects()
    output.tell(news(("door", None, "soup"), ("yard", None, "tea")))
    client.new()
    output.tell(news(("yard", None, "tea")))
    assert client.new() == [("site/door/state/food", "", True)]


def test_a_state_of_another_connection_leaves_the_broker_too(output: Mqtt, client: Client) -> None:
    client.connects()
    output.tell(news(("yard", None, "tea"), events=(event("soup", "stale"),)))
    sent = client.new()
    assert ("site/door/state/food", "", True) in sent
    assert payloads(sent) == ["stale"]


def test_what_happens_without_a_broker_reaches_it_later(
    output: Mqtt, client: Client, counts: Counter[str]
) -> None:
    output.tell(news(("door", None, "soup"), events=(event("stale", "soup"),)))
    output.tell(news(("door", None, "tea"), events=(event("soup", "tea"),)))
    assert client.new() == []

    client.connects()
    sent = client.new()
    assert sent[0] == ("site/door/state/food", "tea", True)
    assert payloads(sent) == ["soup", "tea"]
    client.acknowledges()
    client.disconnects()
    client.connects()
    assert client.new() == [("site/door/state/food", "tea", True)]
    assert not counts


def test_what_was_not_acknowledged_comes_again(
    output: Mqtt, client: Client, counts: Counter[str]
) -> None:
    client.connects()
    output.tell(news(("door", None, "soup"), events=(event("stale", "soup"),)))
    output.put(answer_of())
    client.disconnects()
    assert counts == {"mqtt_lost": 1}  # the answer
    client.new()
    client.connects()
    assert payloads(client.new()) == ["soup"]
    client.acknowledges()
    output.tell(news(("door", None, "tea"), events=(event("soup", "tea"),)))
    assert payloads(client.new()) == ["tea"]


def test_the_newest_thousand_events_wait(
    output: Mqtt, client: Client, counts: Counter[str]
) -> None:
    for number in range(1003):
        output.tell(news(("door", None, "x"), events=(event("", str(number)),)))
    assert counts == {"mqtt_lost": 3}
    client.connects()
    assert payloads(client.new()) == [str(number) for number in range(3, 1003)]


def test_events_that_no_broker_got_are_counted_at_the_end(
    output: Mqtt, counts: Counter[str]
) -> None:
    output.tell(news(("door", None, "soup"), events=(event("stale", "soup"),)))
    output.close()
    assert counts == {"mqtt_lost": 1}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("door", "door"),
        ("Größe 2 $x", "Größe 2 $x"),
        ("a/b", "a%2Fb"),
        ("c#", "c%23"),
        ("c+", "c%2B"),
        ("100%", "100%25"),
        ("\0\n\x85", "%00%0A%C2%85"),
        ("\ufdd0\ufffe\U0010ffff", "%EF%B7%90%EF%BF%BE%F4%8F%BF%BF"),
        ("", ""),
    ],
)
def test_a_name_is_one_level_of_a_topic_and_is_read_as_an_address_is(name: str, part: str) -> None:
    assert topic_part(name) == part
    assert unquote(part) == name


@given(st.lists(st.text(st.sampled_from("c#+/%_23F \0é\ud800\ufffe"), max_size=5), unique=True))
def test_names_that_differ_have_levels_that_differ(names: list[str]) -> None:
    names = list({*names, "status", "status_", "fleet", "%73tatus", "%2573tatus"})
    for parts in ([topic_part(name) for name in names], [camera_part(name) for name in names]):
        assert len({*parts}) == len(names)
        for name, part in zip(names, parts, strict=True):
            assert not re.search("[/+#\0\ud800-\udfff\ufffe]", part)
            assert unquote_to_bytes(part) == name.encode("utf-8", "surrogatepass")


def test_a_camera_has_no_topic_of_the_program_or_of_a_fleet() -> None:
    topics = SiteTopics("snow")
    for name in ("status", "fleet"):
        assert topics.figures(name) != topics.figures(None)
        assert not topics.availability(name).startswith(("snow/status", "snow/fleet"))


def test_drift_is_told_beside_states_that_stay() -> None:
    sent: list[tuple[str, str, bool]] = []
    states = MqttStates(lambda *given: sent.append(given), "snow", lambda _: None)
    now = DriftNow(True, 11, 12, 10, 0.91, 3.0)
    states.tell(news(("door", None, "soup")))
    drift = DriftEvent("door", "food", now, 4.0)
    states.tell(StateNews((), news(("door", None, "soup")).states, (drift,)))

    topic, payload, kept = sent[-1]
    assert (topic, json.loads(payload)["event"], kept) == ("snow/door/event", "drift", False)
    assert [each for each in sent if each[1] == ""] == []


def test_labels_that_signs_alone_tell_apart_have_topics_of_their_own(
    output: Mqtt, client: Client
) -> None:
    client.connects()
    labels = ("c#", "c+", "c/", "c_", "c", "c%23")
    output.tell(news(*(("door", label, f"is {label}") for label in labels)))
    kept = {topic: payload for topic, payload, _ in client.sent}
    assert len(kept) == len(labels)
    for topic, payload in kept.items():
        assert payload == f"is {unquote(topic.removeprefix('site/door/state/food/'))}"
