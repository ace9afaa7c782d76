"""States and their events at an MQTT broker, whatever becomes of the connection."""

from __future__ import annotations

import json
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from snow_runtime.app.outputs.mqtt_retained import MqttRetained, Sent
from snow_runtime.app.outputs.mqtt_topics import SiteTopics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from snow_runtime.app.states.event import StateNews, StateNow

_EVENTS: Final = 1000  # that wait for a broker


class _Waiting(NamedTuple):
    """An event that waits for a broker."""

    topic: str
    message: Sent


class MqttStates:
    """Publishes states, which the broker keeps, and events, each once at least.

    A state is published when it changes, and all are when a connection begins. One that is kept no
    more is taken off the broker. Events wait for a broker, the newest thousand of them.

    Args:
        publish: Function that gives the client a message, its payload and whether the broker is to
            keep it; it returns paho's record of it, or None where the client did not take it.
        topic: First part of the topics.
        count: Callback that gets `mqtt_lost` for each event that had to give way to newer ones.
    """

    def __init__(
        self,
        publish: Callable[[str, str, bool], Any],
        topic: str,
        count: Callable[[str], None],
    ) -> None:
        self._publish = publish
        self._topics = SiteTopics(topic)
        self._count = count
        self._sending = threading.Lock()  # one at a time, so that the newest state comes last
        self._lock = threading.Lock()  # around what is noted; callbacks of the client may take it
        self._states = MqttRetained(publish)
        self._events: deque[_Waiting] = deque()
        self._told: dict[str, str] | None = None  # by topic; None before the first news

    def tell(self, news: StateNews) -> None:
        """Publish what is new."""
        states = {self._topic_of(each): each.state for each in news.states}
        with self._sending:
            with self._lock:
                self._events.extend(
                    _Waiting(self._topics.event(camera), Sent(json.dumps(message)))
                    for camera, message in news.messages
                )
            told = {self._topic_of(event.now) for event in news.events}
            self._told = states
            self._states.put(states, gone=told - states.keys())
            self._send()

    @property
    def topics(self) -> frozenset[str]:
        """Topics on which the broker may keep a state."""
        return self._states.topics

    def inherit(self, topics: Iterable[str]) -> None:
        """Take off the states that another client left, but for present ones.

        Which those are is known from the first news on, and waited for until then.

        Args:
            topics: Topics of its states.
        """
        with self._sending:
            self._states.inherit(topics)
            if self._told is not None:
                self._states.put(self._told)

    def connected(self) -> None:
        """Publish all states, and the events that no broker is known to have."""
        with self._sending:
            with self._lock:
                self._forget_delivered()
                for _, message in self._events:
                    message.record = None
            self._states.connected()
            self._send()

    def close(self) -> None:
        """Count the events that no broker is known to have as lost."""
        with self._lock:
            self._forget_delivered()
            lost = len(self._events)
            self._events.clear()
        for _ in range(lost):
            self._count("mqtt_lost")

    @property
    def on_the_way(self) -> int:
        """How many messages the client has taken and not yet delivered."""
        with self._lock:
            self._forget_delivered()
            sent = sum(message.record is not None for _, message in self._events)
        return self._states.on_the_way + sent

    def _send(self) -> None:
        with self._lock:
            self._forget_delivered()
            waiting = [event for event in self._events if event.message.record is None]
        for topic, message in waiting:
            message.record = self._publish(topic, message.payload, False)  # noqa: FBT003

    def _forget_delivered(self) -> None:
        self._events = deque(event for event in self._events if not event.message.delivered)
        while len(self._events) > _EVENTS:
            self._events.popleft()
            self._count("mqtt_lost")

    def _topic_of(self, state: StateNow) -> str:
        return self._topics.state(state.camera, state.question, state.label)
