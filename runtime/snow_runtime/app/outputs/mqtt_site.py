"""What a broker knows of the installation: which cameras are there, and what is asked of them."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.app.outputs.home_assistant import device_documents, is_of_site, without
from snow_runtime.app.outputs.mqtt_topics import SiteTopics
from snow_runtime.app.throttled_logger import ThrottledLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.app.outputs.mqtt_retained import MqttRetained
    from snow_runtime.app.outputs.site import SiteNow, SiteOptions

_LOGGER = logging.getLogger(__name__)
_LOOK_S: Final = 0.5
_FIGURES_S: Final = 10.0
_END_S: Final = 0.3


class MqttSite:
    """Keeps a broker's picture of an installation true: a thread looks twice a second.

    Args:
        retained: Where messages go that the broker is to keep.
        topic: First part of the topics.
        options: What is told and taken.
        kept: Function that gives what the broker may keep of this client, as JSON.
        inherit: Function that takes what the broker kept of an earlier program, as JSON.
    """

    def __init__(
        self,
        retained: MqttRetained,
        topic: str,
        options: SiteOptions,
        kept: Callable[[], str],
        inherit: Callable[[str], None],
    ) -> None:
        self._retained = retained
        self._topics = SiteTopics(topic)
        self._options = options
        self._kept = kept
        self._inherit = inherit
        self._faults = ThrottledLogger(_LOGGER)
        self._commands: dict[str, tuple[str, str]] = {}
        self._documents: dict[str, dict[str, Any]] = {}
        self._found: dict[str, dict[str, Any]] = {}  # what an earlier program left on the broker
        self._figures: dict[str, str] = {}
        self._figures_s = float("-inf")
        self._asked_again: set[str] = set()  # topics
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="mqtt site", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    @property
    def subscriptions(self) -> list[str]:
        """The topics that it listens to."""
        found = [self._topics.kept]
        found += [] if self._options.turn is None else [self._topics.commands]
        if self._options.discovery is not None:
            found += [f"{self._options.discovery}/{each}" for each in ("status", "device/+/config")]
        return found

    def receive(self, topic: str, payload: str, *, retained: bool) -> None:
        """Take a message that a broker brings."""
        if topic == f"{self._options.discovery}/status":
            if payload == "online" and not retained:
                with self._lock:
                    self._asked_again.update(self._documents)
                self._wake.set()
        elif topic.startswith(f"{self._options.discovery}/device/"):
            if retained:
                self._find(topic, payload)
        elif topic == self._topics.kept:
            if retained:
                self._inherit(payload)
                self._wake.set()
        else:
            self._obey(topic, payload, retained=retained)

    def _find(self, topic: str, payload: str) -> None:
        """Note a document that this program left when it ran before; others are not ours."""
        try:
            document = json.loads(payload)
        except ValueError:
            return
        if is_of_site(document, self._topics):
            with self._lock:
                self._found[topic] = document
            self._wake.set()

    def _obey(self, topic: str, payload: str, *, retained: bool) -> None:
        """Turn a question on or off; a command that the broker had kept is an old one."""
        question = self._commands.get(topic)
        why = None
        if retained:
            why = "the broker had kept it; publish commands without retain"
        elif question is None:
            why = "there is no such question"
        elif payload.upper() not in {"ON", "OFF"}:
            why = f"it says {payload[:20]!r}, expected ON or OFF"
        if why is not None or question is None or self._options.turn is None:
            self._faults.warning(f"A command on {topic} is passed over: {why}.")
            return
        self._options.turn(*question, payload.upper() == "ON")
        with self._lock:
            self._asked_again.add(self._topics.switch(*question))
        self._wake.set()

    def close(self) -> None:
        """Have the broker know that no camera gives pictures any more."""
        self._ending = True
        self._wake.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._ending:
            self._tell()
            self._wake.wait(_LOOK_S)
            self._wake.clear()
        self._figures_s = float("-inf")
        self._tell()

    def _tell(self) -> None:
        try:
            now = self._options.look()
            if self._ending:
                now = replace(now, cameras=dict.fromkeys(now.cameras, "offline"))
            self._publish(now)
        except Exception as error:  # noqa: BLE001 - an app's own function may raise anything
            self._faults.error(f"the broker cannot be told of the cameras: {error}", error)

    def _publish(self, now: SiteNow) -> None:
        topics = self._topics
        payloads: dict[str, str] = {
            topics.availability(camera): state for camera, state in now.cameras.items()
        }
        if self._options.turn is not None:
            commands = {topics.command(*question): question for question in now.on}
            self._commands = commands
            for question, on in now.on.items():
                payloads[topics.switch(*question)] = "ON" if on else "OFF"
        payloads.update(self._figures_now(now))
        described, steps = self._described(now)
        with self._lock:
            again, self._asked_again = self._asked_again, set()
            found, self._found = self._found, {}
        kept = {topics.kept: self._kept()}
        self._retained.put({**payloads, **described, **kept}, steps)
        for topic, document in found.items():
            if topic not in described:
                self._retained.replace(topic, "")
            elif (step := without(document, self._documents[topic])) is not None:
                self._retained.replace(topic, json.dumps(step))
        if again:
            self._retained.again(again)

    def _figures_now(self, now: SiteNow) -> dict[str, str]:
        """Give the figures of a while ago, so that a broker is not kept busy with them."""
        due = time.monotonic() - self._figures_s >= _FIGURES_S
        cameras = {self._topics.figures(camera) for camera in now.cameras}
        if due or cameras != self._figures.keys() - {self._topics.figures(None)}:
            self._figures_s = time.monotonic()
            self._figures = {self._topics.figures(None): json.dumps(dict(now.figures))}
            for camera in now.cameras:
                found = dict(now.camera_figures.get(camera, {}))
                self._figures[self._topics.figures(camera)] = json.dumps(found)
        return self._figures

    def _described(self, now: SiteNow) -> tuple[dict[str, str], dict[str, str]]:
        """Give the discovery documents, and forms of them that have an end for what is gone."""
        prefix = self._options.discovery
        if prefix is None:
            return {}, {}
        switches = self._options.turn is not None
        new = device_documents(now, self._topics, prefix, switches=switches, qos=self._options.qos)
        steps = {
            topic: json.dumps(step)
            for topic, document in new.items()
            if (step := without(self._documents.get(topic), document)) is not None
        }
        with self._lock:
            self._documents = new
        return {topic: json.dumps(document) for topic, document in new.items()}, steps
