"""An installation in the words of Home Assistant's device discovery.

Each camera is a device, with an entity for each question or label, its switch, and what it counts;
the program is one more, by which the cameras are reached. A document describes one device.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

from snow_runtime._version import __version__
from snow_runtime.app.states.votes import OFF, ON, STALE, UNKNOWN, state_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_runtime.app.outputs.mqtt_topics import SiteTopics
    from snow_runtime.app.outputs.site import SiteNow
    from snow_runtime.app.states.keeper import AskedTask

Document = dict[str, Any]
_PROGRAM: Final = "snow-deploy"
_ON_OR_OFF: Final = f"{{{{ value if value in ('{ON}', '{OFF}') else 'None' }}}}"
_NONE: Final = "None"
"""What Home Assistant takes for no state at all, whatever the options are."""
_NOT_NONE: Final = f"{{{{ value ~ '_' if value.rstrip('_') == '{_NONE}' else value }}}}"
_ONLINE_OR_NOT: Final = "{{ 'online' if value == 'online' else 'offline' }}"


def device_documents(
    now: SiteNow, topics: SiteTopics, prefix: str, *, switches: bool, qos: int
) -> dict[str, Document]:
    """Return a document for each device, by the topic that it belongs on.

    Args:
        now: The installation.
        topics: Where what it tells is found.
        prefix: First part of the discovery topics.
        switches: Whether questions can be turned on and off.
        qos: The quality of service to subscribe with.
    """
    box = identifier(topics.base)
    found = {f"{prefix}/device/{box}/config": _box_document(box, topics, qos)}
    for camera in now.cameras:
        device = identifier(topics.base, camera)
        components: Document = _camera_components(camera, device, topics)
        for (of, question), task in now.questions.items():
            if of == camera:
                components |= _states(camera, question, task, topics, switches=switches)
                if switches:
                    components |= _switch(camera, question, topics)
        found[f"{prefix}/device/{device}/config"] = {
            "device": {**_device(device, camera, "camera"), "via_device": box},
            "origin": _origin(),
            "availability": [_program(topics), _pictures(camera, topics)],
            "availability_mode": "all",
            "components": components,
            "qos": qos,
        }
    return found


def identifier(*names: str) -> str:
    """Return an identifier of letters, digits and `_` that no other names have."""
    readable = "_".join(re.sub(r"[^a-zA-Z0-9]+", "_", name).strip("_") for name in names)
    distinct = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()
    return f"snow_{readable[:60]}_{distinct[:10]}"


def without(before: Document | None, after: Document) -> Document | None:
    """Return a document with an end for each component that it no longer has.

    Home Assistant takes a component away where nothing but its platform is given; one that is left
    out would stay.

    Returns:
        The document; None where no component has gone.
    """
    old: Mapping[str, Any] = {} if before is None else before["components"]
    ends = {
        name: {"platform": component["platform"]}
        for name, component in old.items()
        if name not in after["components"]
    }
    return {**after, "components": {**after["components"], **ends}} if ends else None


def is_of_site(document: Any, topics: SiteTopics) -> bool:
    """Tell whether a document is one of ours, and of the same installation."""
    try:
        return bool(
            document["origin"]["name"] == _PROGRAM
            and document["availability"][0]["topic"] == topics.status
            and all(each["platform"] for each in document["components"].values())
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        return False


def _box_document(box: str, topics: SiteTopics, qos: int) -> Document:
    figures = {
        "frames_per_s": ("Frames per second", {"state_class": "measurement", "unit": "1/s"}),
        "latency_ms": ("Latency", {"state_class": "measurement", "unit": "ms"}),
        "errors": ("Errors", {"state_class": "total_increasing"}),
    }
    return {
        "device": _device(box, topics.base, "run"),
        "origin": _origin(),
        "availability": [_program(topics)],
        "availability_mode": "all",
        "components": _figures(None, topics, figures),
        "qos": qos,
    }


def _camera_components(camera: str, device: str, topics: SiteTopics) -> Document:
    counted = {"state_class": "total_increasing"}
    figures = {
        "frames": ("Frames", counted),
        "drops": ("Dropped frames", counted),
        "reconnections": ("Reconnections", counted),
    }
    connectivity: Document = {
        "platform": "binary_sensor",
        "unique_id": f"{device}_connectivity",
        "name": "Pictures",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": topics.availability(camera),
        "value_template": _ONLINE_OR_NOT,
        "payload_on": "online",
        "payload_off": "offline",
        "availability": [_program(topics)],
    }
    return {
        connectivity["unique_id"]: connectivity,
        **_figures(camera, topics, figures, [_program(topics)]),
    }


def _figures(
    camera: str | None,
    topics: SiteTopics,
    figures: Mapping[str, tuple[str, Mapping[str, str]]],
    availability: list[Document] | None = None,
) -> Document:
    found = {}
    for key, (name, how) in figures.items():
        names = (topics.base, "figure", key) if camera is None else (topics.base, camera, key)
        unique = identifier(*names, "figure")
        found[unique] = {
            "platform": "sensor",
            "unique_id": unique,
            "name": name,
            "entity_category": "diagnostic",
            "state_topic": topics.figures(camera),
            "value_template": f"{{{{ value_json.{key} }}}}",
            "state_class": how["state_class"],
            **({"unit_of_measurement": how["unit"]} if "unit" in how else {}),
            **({} if availability is None else {"availability": availability}),
        }
    return found


def _states(
    camera: str, question: str, task: AskedTask, topics: SiteTopics, *, switches: bool
) -> Document:
    """Describe the state of a question, or those of its labels; one that is off has none."""
    availability = [_program(topics), _pictures(camera, topics)]
    if switches:
        availability.append(
            {
                "topic": topics.switch(camera, question),
                "payload_available": "ON",
                "payload_not_available": "OFF",
            }
        )
    if task.answers == "one":
        unique = identifier(topics.base, camera, question, "state")
        states = dict.fromkeys([*map(state_of, task.labels), UNKNOWN, STALE])
        like_none = {state: f"{state}_" for state in states if state.rstrip("_") == _NONE}
        component = {
            "platform": "sensor",
            "unique_id": unique,
            "name": question,
            "device_class": "enum",
            "options": [like_none.get(state, state) for state in states],
            **({"value_template": _NOT_NONE} if like_none else {}),
            "state_topic": topics.state(camera, question),
            "availability": availability,
        }
        return {unique: component}
    found = {}
    for label in task.labels:
        unique = identifier(topics.base, camera, question, label, "state")
        found[unique] = {
            "platform": "binary_sensor",
            "unique_id": unique,
            "name": f"{question}: {label}",
            "state_topic": topics.state(camera, question, label),
            "value_template": _ON_OR_OFF,
            "payload_on": ON,
            "payload_off": OFF,
            "availability": availability,
        }
    return found


def _switch(camera: str, question: str, topics: SiteTopics) -> Document:
    unique = identifier(topics.base, camera, question, "switch")
    component = {
        "platform": "switch",
        "unique_id": unique,
        "name": f"Ask: {question}",
        "entity_category": "config",
        "state_topic": topics.switch(camera, question),
        "command_topic": topics.command(camera, question),
        "payload_on": "ON",
        "payload_off": "OFF",
        "availability": [_program(topics)],
    }
    return {unique: component}


def _device(device: str, name: str, model: str) -> Document:
    return {
        "identifiers": [device],
        "name": name,
        "manufacturer": _PROGRAM,
        "model": model,
        "sw_version": __version__,
    }


def _origin() -> Document:
    return {"name": _PROGRAM, "sw_version": __version__}


def _program(topics: SiteTopics) -> Document:
    return {"topic": topics.status}


def _pictures(camera: str, topics: SiteTopics) -> Document:
    return {"topic": topics.availability(camera), "value_template": _ONLINE_OR_NOT}
