"""A client of MQTT that goes on where another one ended, with other cameras."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snow_runtime.app.answers import FrameAnswer
from snow_runtime.app.outputs.mqtt import Mqtt
from snow_runtime.app.outputs.mqtt_broker import MqttOptions
from snow_runtime.app.outputs.site import SiteNow, SiteOptions
from snow_runtime.app.states.event import StateNews, StateNow
from tests.runtime.app.conftest import until

KEPT: dict[str, str] = {}


class Client:
    """What is used of paho's client, on a broker that takes everything."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None

    def is_connected(self) -> bool:
        return True

    def publish(self, topic: str, payload: str, qos: int, retain: bool) -> Any:  # noqa: ARG002
        if retain and payload:
            KEPT[topic] = payload
        elif retain:
            KEPT.pop(topic, None)
        return SimpleNamespace(rc=0, mid=1, is_published=lambda: True)


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    KEPT.clear()


def client(url: str = "mqtt://broker/site") -> Mqtt:
    found = Mqtt(url, lambda _: None, MqttOptions(retain=True), Client())
    found._on_connect(None, None, None, SimpleNamespace(is_failure=False))
    return found


def works(output: Mqtt, *cameras: str, states: bool = True) -> None:
    """Do all that a program does at a broker, and end."""
    known = dict.fromkeys(cameras, "online")
    on = {(camera, "food"): True for camera in cameras}
    look = lambda: SiteNow(known, on=on, figures={})  # type: ignore[arg-type] # noqa: E731
    output.attend(SiteOptions(look, turn=lambda *_: None))
    for camera in cameras:
        output.put(FrameAnswer(camera, 0, 0.0, 0.0, 0.0, {}))
    told = [StateNow(camera, "food", None, "stale", None) for camera in cameras if states]
    output.tell(StateNews((), tuple(told)))
    until(lambda: all(f"site/{camera}/diagnostics" in KEPT for camera in cameras), 10)
    output.close()


def test_a_camera_that_was_renamed_leaves_nothing_behind() -> None:
    first, second = client(), client()
    works(first, "door", "yard")
    assert {topic for topic in KEPT if topic.startswith("site/door")} == {
        "site/door",
        "site/door/availability",
        "site/door/diagnostics",
        "site/door/state/food",
        "site/door/switch/food",
    }
    second.inherit(first.left)
    works(second, "gate", "yard")
    cameras = {topic.split("/")[1] for topic in KEPT}
    assert cameras == {"status", "gate", "yard"}
    assert "site/yard" in KEPT
    third = client()
    third.inherit(second.left)
    works(third, "yard", states=False)
    assert {topic for topic in KEPT if "gate" in topic or "/state/" in topic} == set()


def test_another_broker_or_topic_is_left_alone() -> None:
    first, second = client(), client("mqtt://broker/other")
    works(first, "door")
    second.inherit(first.left)
    second.attend(SiteOptions(lambda: SiteNow({})))
    until(lambda: "other/status/diagnostics" in KEPT, 10)
    second.close()
    assert "site/door/availability" in KEPT
