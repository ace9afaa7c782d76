"""What a real broker knows of an installation: availability, discovery, switches."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.app.outputs.home_assistant import identifier
from snow_runtime.app.outputs.mqtt import Mqtt
from snow_runtime.app.outputs.mqtt_broker import MqttOptions
from snow_runtime.app.outputs.site import SiteNow, SiteOptions
from snow_runtime.app.states.event import StateNews, StateNow
from snow_runtime.app.states.keeper import AskedTask
from tests.runtime.app.conftest import until
from tests.runtime.app.frames import answer_of
from tests.runtime.app.mosquitto import Listener, brokers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runtime.app.mosquitto import Start

pytest.importorskip("paho.mqtt.client")
FOOD = AskedTask(("soup", "tea"), "one")
DOOR = f"ha/device/{identifier('t', 'door')}/config"
YARD = f"ha/device/{identifier('t', 'yard')}/config"
OPEN = "allow_anonymous true"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a broker with a configuration; give its port."""
    yield from brokers(tmp_path)


class Site:
    """Two cameras that are asked about food, as a test changes them."""

    def __init__(self) -> None:
        cameras = ("door", "yard")
        asked = {(camera, "food"): FOOD for camera in cameras}
        self.now = SiteNow(dict.fromkeys(cameras, "online"), asked, dict.fromkeys(asked, True))

    def turn(self, camera: str, question: str, on: bool) -> None:
        self.now = replace(self.now, on={**self.now.on, (camera, question): on})

    def drop(self, camera: str, question: str) -> None:
        questions = {k: v for k, v in self.now.questions.items() if k != (camera, question)}
        on = {k: v for k, v in self.now.on.items() if k != (camera, question)}
        self.now = replace(self.now, questions=questions, on=on)

    def attend(self, port: int, *, at_once: bool = True, retain: bool = False) -> Mqtt:
        options = MqttOptions(retain=retain)
        output = Mqtt(f"mqtt://127.0.0.1:{port}/t", lambda _: None, options)
        output._client.reconnect_delay_set(1, 1)
        if not at_once:
            until(output._client.is_connected)
        output.attend(SiteOptions(lambda: self.now, self.turn, "ha"))
        return output


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def opened() -> Iterator[list[Any]]:
    found: list[Any] = []
    yield found
    for each in found:
        each.close()


def test_availability_follows_each_camera_and_ends_offline(
    start: Start, site: Site, opened: list[Any]
) -> None:
    opened.append(listener := Listener(port := start(OPEN), "t/#"))
    output = site.attend(port)
    until(lambda: listener.last("t/yard/availability") == "online")
    site.now = replace(site.now, cameras={"door": "stale", "yard": "offline"})
    until(lambda: listener.last("t/door/availability") == "stale")
    until(lambda: listener.last("t/yard/availability") == "offline")
    site.now = replace(site.now, cameras={"door": "online", "yard": "online"})
    until(lambda: listener.last("t/door/availability") == "online")
    output.close()

    opened.append(later := Listener(port, "t/#"))
    until(lambda: len(later.got) == 9)
    assert later.got["t/status"] == ("offline", True)
    assert later.got["t/door/availability"] == ("offline", True)
    assert later.got["t/door/switch/food"] == ("ON", True)
    assert json.loads(later.got["t/status/diagnostics"][0]) == {}


def test_a_question_is_turned_off_and_on_around_a_cut(
    start: Start, site: Site, opened: list[Any]
) -> None:
    port = start(OPEN)
    opened += [output := site.attend(port, at_once=False), listener := Listener(port, "t/#")]
    until(lambda: listener.last("t/door/switch/food") == "ON")
    listener.publish("t/door/switch/food/set", "OFF")
    until(lambda: listener.last("t/door/switch/food") == "OFF")
    assert site.now.on == {("door", "food"): False, ("yard", "food"): True}

    output._client.socket().shutdown(socket.SHUT_RDWR)
    until(lambda: ("t/status", "offline") in listener.history)
    until(lambda: listener.last("t/status") == "online")
    listener.publish("t/door/switch/food/set", "on")
    until(lambda: listener.last("t/door/switch/food") == "ON")
    seen = len(listener.history)
    listener.publish("t/door/switch/food/set", "ON")  # told again, though nothing changes
    until(lambda: ("t/door/switch/food", "ON") in listener.history[seen:])


@pytest.mark.parametrize(
    ("topic", "payload", "said"),
    [
        ("t/door/switch/food/set", "maybe", "expected ON or OFF"),
        ("t/door/switch/drink/set", "OFF", "there is no such question"),
    ],
)
def test_a_command_that_means_nothing_is_told(  # noqa: PLR0917
    start: Start,
    site: Site,
    opened: list[Any],
    caplog: pytest.LogCaptureFixture,
    topic: str,
    payload: str,
    said: str,
) -> None:
    port = start(OPEN)
    opened += [site.attend(port), listener := Listener(port, "t/#")]
    until(lambda: listener.last("t/door/switch/food"))
    listener.publish(topic, payload)
    until(lambda: said in caplog.text)
    assert all(site.now.on.values())


def test_a_command_that_the_broker_kept_is_an_old_one(
    start: Start, site: Site, opened: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    opened.append(listener := Listener(port := start(OPEN), "t/#"))
    listener.publish("t/door/switch/food/set", "OFF", retain=True)
    until(lambda: listener.last("t/door/switch/food/set"))
    opened.append(site.attend(port))
    until(lambda: "publish commands without retain" in caplog.text)
    assert all(site.now.on.values())


def components(listener: Listener, topic: str) -> set[str]:
    return {each["name"] for each in json.loads(listener.last(topic) or "")["components"].values()}


def test_discovery_comes_again_for_a_birth_and_goes_with_what_it_describes(
    start: Start, site: Site, opened: list[Any]
) -> None:
    port = start(OPEN)
    opened += [site.attend(port), listener := Listener(port, "ha/#")]
    until(lambda: len(listener.got) == 3)
    assert {"food", "Ask: food"} <= components(listener, DOOR)

    seen = len(listener.history)
    listener.publish("ha/status", "online")
    until(lambda: len({topic for topic, _ in listener.history[seen:]}) == 4)

    seen = len(listener.history)
    site.drop("door", "food")
    until(lambda: len(listener.history) == seen + 2)
    (_, step), (_, last) = listener.history[seen:]
    assert sorted(map(len, json.loads(step)["components"].values()))[:2] == [1, 1]
    assert json.loads(step)["components"].keys() > json.loads(last)["components"].keys()

    site.now = replace(site.now, cameras={"door": "online"}, questions={}, on={})
    until(lambda: listener.last(YARD) == "")
    opened.append(later := Listener(port, "ha/#"))
    until(lambda: len(later.got) == 2)
    assert YARD not in later.got


def test_what_went_while_no_connection_was_there_goes_with_the_next(
    start: Start, site: Site, opened: list[Any]
) -> None:
    port = start(OPEN)
    opened += [output := site.attend(port), listener := Listener(port, "ha/#")]
    until(lambda: len(listener.got) == 3 and output._retained.on_the_way == 0)

    output._client.socket().shutdown(socket.SHUT_RDWR)
    site.now = replace(site.now, cameras={"door": "online"}, questions={}, on={})
    until(lambda: YARD not in output._site._documents)  # type: ignore[union-attr]
    until(lambda: listener.last(YARD) == "")
    until(lambda: "food" not in components(listener, DOOR))


def test_what_an_earlier_run_described_goes_and_what_others_describe_stays(
    start: Start, site: Site, opened: list[Any]
) -> None:
    opened.append(listener := Listener(port := start(OPEN), "ha/#"))
    earlier = site.attend(port)
    until(lambda: len(listener.got) == 3)
    earlier.close()
    listener.publish("ha/device/lamp/config", '{"origin": {"name": "lamps"}}', retain=True)
    listener.publish("ha/device/rubbish/config", "{", retain=True)
    until(lambda: len(listener.got) == 5)
    seen = len(listener.history)

    site.now = replace(site.now, cameras={"door": "online"}, questions={}, on={})
    opened.append(site.attend(port))
    until(lambda: listener.last(YARD) == "")
    until(lambda: any(topic == DOOR and '{"platform": "switch"}' in text
                      for topic, text in listener.history[seen:]))  # fmt: skip
    until(lambda: components(listener, DOOR).isdisjoint({"food", "Ask: food"}))
    opened.append(later := Listener(port, "ha/#"))
    until(lambda: len(later.got) == 4)
    assert later.got.keys() == {
        *(DOOR, f"ha/device/{identifier('t')}/config"),
        *("ha/device/lamp/config", "ha/device/rubbish/config"),
    }


def test_what_an_earlier_program_left_goes_and_what_others_keep_stays(
    start: Start, site: Site, opened: list[Any]
) -> None:
    """The next one may have other cameras, questions and labels; nothing else tells of the old."""
    opened.append(listener := Listener(port := start(OPEN), "t/#"))
    earlier = site.attend(port, at_once=False, retain=True)
    states = [("door", None, "tea"), ("yard", "c#", "on"), ("yard", "c+", "off")]
    earlier.tell(told(*states))
    earlier.put(answer_of(camera="door"))
    earlier.put(answer_of(camera="yard"))
    mine = {"t/door/state/food", "t/yard/state/food/c%23", "t/yard/state/food/c%2B", "t/yard"}
    until(lambda: mine <= listed(listener))
    earlier.close()
    for topic in ("t/lamp/availability", "t/door/state", "t/lamp/state/food", "t/lamp"):
        listener.publish(topic, "theirs", retain=True)

    site.now = replace(site.now, cameras={"door": "online"}, questions={}, on={})
    for retain in (True, False):
        opened.append(next_one := site.attend(port, retain=retain))
        next_one.tell(told(("door", None, "soup")))
        until(lambda: listener.last("t/yard/availability") == "")
        expected = {"t/door/state/food", "t/lamp/availability", "t/door/state", "t/lamp/state/food"}
        expected |= {"t/lamp", "t/door/availability", "t/door/diagnostics", "t/status/diagnostics"}
        expected |= {"t/status", "t/status/kept"} | ({"t/door"} if retain else set())
        until(partial(lambda wanted: kept_at(port) == wanted, expected))
        opened.remove(next_one)
        next_one.close()


def told(*states: tuple[str, str | None, str]) -> StateNews:
    return StateNews((), tuple(StateNow(c, "food", lab, s, 2.0) for c, lab, s in states))


def listed(listener: Listener) -> set[str]:
    return {f"t/{each}" for each in json.loads(listener.last("t/status/kept") or "[]")}


def kept_at(port: int) -> set[str]:
    listener = Listener(port, "t/#")
    until(lambda: "t/status/kept" in listener.got)
    listener.publish("t/end/of/it", "")  # what the broker keeps comes before it
    until(lambda: "t/end/of/it" in listener.got)
    found = {topic for topic, (text, retained) in listener.got.items() if text and retained}
    listener.close()
    return found


def test_a_broker_that_forgot_everything_is_told_everything(
    start: Start, site: Site, opened: list[Any]
) -> None:
    port = start(OPEN)
    opened += [site.attend(port), listener := Listener(port, "#")]
    until(lambda: len(listener.got) == 12)
    site.turn("door", "food", on=False)
    until(lambda: listener.last("t/door/switch/food") == "OFF")

    start(OPEN, port=port)  # without persistence
    opened.append(later := Listener(port, "#"))
    until(lambda: later.got.keys() == listener.got.keys(), 20)
    assert later.last("t/status") == "online"
    assert later.last("t/door/switch/food") == "OFF"
    assert {"food", "Ask: food"} <= components(later, DOOR)
    later.publish("t/door/switch/food/set", "ON")  # it listens again, too
    until(lambda: later.last("t/door/switch/food") == "ON")
