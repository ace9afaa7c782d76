"""Discovery documents against the rules that Home Assistant publishes for them.

It has no schema that a program could read without Home Assistant itself. The keys below are written
down from its documentation and from what its integration accepts, apart from our own code.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from snow_runtime.app.outputs.home_assistant import (
    device_documents,
    identifier,
    is_of_site,
    without,
)
from snow_runtime.app.outputs.mqtt_topics import SiteTopics
from snow_runtime.app.outputs.site import SiteNow
from snow_runtime.app.states.keeper import AskedTask

DOCUMENT = {"device", "origin", "components", "availability", "availability_mode", "qos"}
REQUIRED = {"device", "origin", "components"}
DEVICE = {"identifiers", "name", "manufacturer", "model", "sw_version", "via_device"}
ORIGIN = {"name", "sw_version", "support_url"}
AVAILABILITY = {"topic", "payload_available", "payload_not_available", "value_template"}
ENTITY = {"platform", "unique_id", "name", "entity_category", "availability", "icon"}
PLATFORMS = {  # what each needs, and what it may have
    "sensor": (
        {"state_topic"},
        {"value_template", "device_class", "options", "state_class", "unit_of_measurement"},
    ),
    "binary_sensor": (
        {"state_topic"},
        {"value_template", "device_class", "payload_on", "payload_off"},
    ),
    "switch": ({"command_topic"}, {"state_topic", "payload_on", "payload_off"}),
}

TOPICS = SiteTopics("site/one")
ONE = AskedTask(("open", "shut", "unknown"), "one")
SEVERAL = AskedTask(("cat", "dog"), "several")
NOW = SiteNow(
    {"door": "online", "größe/2": "offline"},
    {("door", "gate"): ONE, ("door", "animals"): SEVERAL, ("größe/2", "gate"): ONE},
)


def documents(now: SiteNow = NOW, *, switches: bool = True) -> dict[str, Any]:
    found = device_documents(now, TOPICS, "homeassistant", switches=switches, qos=1)
    loaded: dict[str, Any] = json.loads(json.dumps(found))
    return loaded


def check_availability(given: list[dict[str, Any]]) -> None:
    assert given
    for each in given:
        assert each.keys() <= AVAILABILITY
        assert not re.search(r"[+#\0]", each["topic"])


def check_component(name: str, component: dict[str, Any]) -> None:
    needed, more = PLATFORMS[component["platform"]]
    assert needed | {"platform", "unique_id"} <= component.keys()
    assert component.keys() <= needed | more | ENTITY
    assert component["unique_id"] == name
    for topic in ("state_topic", "command_topic"):
        assert not re.search(r"[+#\0]", component.get(topic, "t"))
    if "availability" in component:
        check_availability(component["availability"])
    if component["platform"] != "switch":
        assert component.get("entity_category", "diagnostic") == "diagnostic"
    if "options" in component:
        assert component["device_class"] == "enum"
        assert not component.keys() & {"state_class", "unit_of_measurement"}
        assert len(set(component["options"])) == len(component["options"]) > 0


def check_document(topic: str, document: dict[str, Any]) -> None:
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)
    assert REQUIRED <= document.keys() <= DOCUMENT
    assert document["device"].keys() <= DEVICE
    assert document["device"]["identifiers"]
    assert {"name"} <= document["origin"].keys() <= ORIGIN
    assert document["availability_mode"] in {"all", "any", "latest"}
    assert document["qos"] in {0, 1, 2}
    check_availability(document["availability"])
    for name, component in document["components"].items():
        check_component(name, component)


@pytest.mark.parametrize("switches", [True, False])
def test_every_document_keeps_the_rules(switches: bool) -> None:
    found = documents(switches=switches)
    assert len(found) == 3
    for topic, document in found.items():
        check_document(topic, document)
    names = [name for document in found.values() for name in document["components"]]
    assert len(set(names)) == len(names)
    kinds = {each["platform"] for page in found.values() for each in page["components"].values()}
    assert kinds == {"sensor", "binary_sensor"} | ({"switch"} if switches else set())


def by_name(camera: str = "door") -> dict[str, dict[str, Any]]:
    (found,) = [each for each in documents().values() if each["device"]["name"] == camera]
    return {each["name"]: each for each in found["components"].values()}


def test_a_question_with_one_answer_lists_every_state_it_can_have() -> None:
    gate = by_name()["gate"]
    assert gate["options"] == ["open", "shut", "unknown_", "unknown", "stale"]
    assert gate["state_topic"] == "site/one/door/state/gate"
    assert [each["topic"] for each in gate["availability"]] == [
        "site/one/status",
        "site/one/door/availability",
        "site/one/door/switch/gate",
    ]


def test_a_switch_can_be_used_while_its_camera_is_away() -> None:
    switch = by_name("größe/2")["Ask: gate"]
    assert switch["command_topic"] == "site/one/größe%2F2/switch/gate/set"
    assert [each["topic"] for each in switch["availability"]] == ["site/one/status"]


@pytest.mark.parametrize(
    ("state", "shown"), [("on", "on"), ("off", "off"), ("unknown", "None"), ("stale", "None")]
)
def test_a_label_is_on_off_or_not_known(state: str, shown: str) -> None:
    jinja2 = pytest.importorskip("jinja2")
    template = by_name()["animals: cat"]["value_template"]
    assert jinja2.Template(template).render(value=state) == shown


@pytest.mark.parametrize(
    ("state", "shown"), [("online", "online"), ("offline", "offline"), ("stale", "offline")]
)
def test_a_camera_that_shows_one_picture_again_and_again_is_away(state: str, shown: str) -> None:
    jinja2 = pytest.importorskip("jinja2")
    template = by_name()["Pictures"]["value_template"]
    assert jinja2.Template(template).render(value=state) == shown


def test_every_camera_is_reached_by_the_program() -> None:
    found = [each["device"] for each in documents().values()]
    (box,) = [device for device in found if "via_device" not in device]
    assert {device.get("via_device") for device in found} == {None, *box["identifiers"]}


def test_what_has_gone_gets_an_end() -> None:
    topic = f"homeassistant/device/{identifier('site/one', 'door')}/config"
    before = documents()[topic]
    after = documents(SiteNow({"door": "online"}, {("door", "gate"): ONE}))[topic]
    step = without(before, after)
    assert step is not None
    gone = before["components"].keys() - after["components"].keys()
    assert len(gone) == 3  # two labels and the switch
    for name in gone:
        assert step["components"][name] == {"platform": before["components"][name]["platform"]}
    assert {k: v for k, v in step["components"].items() if k not in gone} == after["components"]
    assert without(after, before) is None
    assert without(None, before) is None


def test_identifiers_keep_names_apart() -> None:
    names = [("a", "b_c"), ("a_b", "c"), ("a/b", "c"), ("a b", "c"), ("ä", "c"), ("ö", "c"), ("",)]
    found = {identifier(*each) for each in names}
    assert len(found) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", each) for each in found)


@pytest.mark.parametrize(
    "document",
    [None, [], "text", {}, {"origin": {"name": "zigbee2mqtt"}}, {"origin": [], "availability": 3}],
)
def test_what_others_describe_is_not_ours(document: Any) -> None:
    assert not is_of_site(document, TOPICS)


def test_what_another_installation_describes_is_not_ours() -> None:
    for document in documents().values():
        assert is_of_site(document, TOPICS)
        assert not is_of_site(document, SiteTopics("site/two"))


def test_a_label_that_is_no_state_to_home_assistant_gets_another_name() -> None:
    """Its integration takes the payload `None` of a sensor for "not known"."""
    task = AskedTask(("Some", "None", "none", "None_", "_None"), "one")
    now = SiteNow({"door": "online"}, {("door", "left"): task})
    (left,) = (
        each
        for document in documents(now).values()
        for each in document["components"].values()
        if each["name"] == "left"
    )
    assert left["options"] == ["Some", "None_", "none", "None__", "_None", "unknown", "stale"]
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Template(left["value_template"])
    states = ["Some", "None", "none", "None_", "_None", "unknown", "stale"]
    assert [template.render(value=state) for state in states] == left["options"]
