from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snow_runtime.app.outputs.mqtt_retained import MqttRetained


class Broker:
    """One that keeps what it acknowledged, and is away at times."""

    def __init__(self) -> None:
        self.there, self.takes = True, True
        self.kept: dict[str, str] = {}
        self.seen: list[tuple[str, str]] = []

    def publish(self, topic: str, payload: str, retain: bool) -> Any:
        assert retain
        if not self.there:
            return None
        taken = self.takes
        if taken:
            self.seen.append((topic, payload))
            if payload:
                self.kept[topic] = payload
            else:
                self.kept.pop(topic, None)
        return SimpleNamespace(is_published=lambda: taken)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def retained(broker: Broker) -> MqttRetained:
    return MqttRetained(broker.publish)


def test_only_what_changes_is_published(retained: MqttRetained, broker: Broker) -> None:
    retained.put({"a": "1", "b": "2"})
    retained.put({"a": "1", "b": "3"})
    assert broker.seen == [("a", "1"), ("b", "2"), ("b", "3")]
    assert retained.on_the_way == 0


@pytest.mark.parametrize("how", ["there", "takes"])
def test_what_goes_during_an_outage_is_taken_off_afterwards(
    retained: MqttRetained, broker: Broker, how: str
) -> None:
    retained.put({"a": "1", "b": "2"})
    setattr(broker, how, False)
    retained.put({"b": "3"})
    retained.put({"b": "4"})
    setattr(broker, how, True)
    retained.connected()
    assert broker.kept == {"b": "4"}
    broker.seen.clear()
    retained.put({"b": "4"})
    retained.connected()
    assert broker.seen == [("b", "4")]  # nothing more of the other


def test_a_step_comes_before_what_is_kept_also_after_an_outage(
    retained: MqttRetained, broker: Broker
) -> None:
    retained.put({"a": "1"})
    broker.takes = False
    retained.put({"a": "2"}, {"a": "without 1"})
    assert retained.on_the_way == 2
    retained.put({"a": "3"}, {"a": "without 2"})
    broker.takes = True
    retained.connected()
    assert broker.seen[1:] == [("a", "without 1"), ("a", "without 2"), ("a", "3")]
    retained.connected()
    assert broker.seen[4:] == [("a", "3")]


def test_single_topics_again(retained: MqttRetained, broker: Broker) -> None:
    retained.put({"a": "1", "b": "2"})
    retained.again({"b", "unheard of"})
    assert broker.seen == [("a", "1"), ("b", "2"), ("b", "2")]


def test_what_another_left_is_replaced_or_taken_off(retained: MqttRetained, broker: Broker) -> None:
    broker.kept = {"a": "old", "c": "old"}
    retained.put({"a": "1"})
    retained.replace("a", "without old")
    retained.replace("c", "")
    assert broker.seen == [("a", "1"), ("a", "without old"), ("a", "1"), ("c", "")]
    assert broker.kept == {"a": "1"}
    retained.put({"a": "1"})
    assert len(broker.seen) == 4


def test_a_topic_that_comes_back_while_it_goes(retained: MqttRetained, broker: Broker) -> None:
    retained.put({"a": "1"})
    broker.there = False
    retained.put({})
    retained.put({"a": "1"})
    broker.there = True
    retained.connected()
    assert broker.kept == {"a": "1"}


def test_what_newer_ones_overtook_is_still_on_the_way(
    retained: MqttRetained, broker: Broker
) -> None:
    broker.takes = False
    for number in range(5):
        retained.put({"a": str(number)})
    retained.again({"a"})
    retained.replace("a", "step")
    assert retained.on_the_way == 8
    broker.takes = True
    retained.connected()
    assert retained.on_the_way == 0


def test_an_outage_of_many_changes_takes_no_memory(retained: MqttRetained, broker: Broker) -> None:
    broker.there = False
    for number in range(1000):
        retained.put({"a": str(number), "b": "2"})
        retained.again({"b"})
    assert not retained._overtaken
    assert sum(map(len, retained._topics.values())) == 2
    broker.there = True
    retained.connected()
    assert broker.seen == [("a", "999"), ("b", "2")]


def test_what_another_client_left_and_is_not_told_anew_is_taken_off(
    retained: MqttRetained, broker: Broker
) -> None:
    broker.kept = {"old": "1", "both": "2", "foreign": "3"}
    retained.inherit({"old", "both"})
    retained.connected()
    assert broker.kept == {"old": "1", "both": "2", "foreign": "3"}  # not before it is known
    assert retained.topics == {"old", "both"}
    retained.put({"both": "2", "new": "4"})
    assert broker.kept == {"both": "2", "new": "4", "foreign": "3"}
    assert retained.topics == {"both", "new"}


def test_it_is_taken_off_after_an_outage_too(retained: MqttRetained, broker: Broker) -> None:
    broker.kept = {"old": "1"}
    broker.there = False
    retained.inherit({"old"})
    retained.put({"new": "2"})
    broker.there = True
    retained.connected()
    assert broker.kept == {"new": "2"}
