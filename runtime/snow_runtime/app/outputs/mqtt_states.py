"""States and their events at an MQTT broker, whatever becomes of the connection."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.app.outputs.mqtt_topics import topic_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.app.states.event import StateEvent, StateNews, StateNow

_EVENTS: Final = 1000  # that wait for a broker


@dataclass
class _Waiting:
    """An event, and what the client said when it took it; None until it did."""

    topic: str
    payload: str
    sent: Any = None

    @property
    def delivered(self) -> bool:
        return self.sent is not None and _is_published(self.sent)


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
        self._topic = topic
        self._count = count
        self._sending = threading.Lock()  # one at a time, so that the newest state comes last
        self._lock = threading.Lock()  # around what is noted; callbacks of the client may take it
        self._states: dict[str, str] = {}  # by topic, as the broker should have it
        self._on_the_way: list[Any] = []
        self._events: deque[_Waiting] = deque()

    def tell(self, news: StateNews) -> None:
        """Publish what is new."""
        states = {self._state_topic(each): each.state for each in news.states}
        with self._sending:
            before, self._states = self._states, states
            with self._lock:
                self._events.extend(
                    _Waiting(self._event_topic(event), json.dumps(event.to_dict()))
                    for event in news.events
                )
            told = {self._state_topic(event.now) for event in news.events}
            gone = dict.fromkeys((before.keys() | told) - states.keys(), "")  # the broker forgets
            new = {topic: state for topic, state in states.items() if before.get(topic) != state}
            self._send({**gone, **new})

    def connected(self) -> None:
        """Publish all states, and the events that no broker is known to have."""
        with self._sending:
            with self._lock:
                self._on_the_way = []
                for event in self._events:
                    event.sent = event.sent if event.delivered else None
            self._send(self._states)

    def close(self) -> None:
        """Count the events that no broker is known to have as lost."""
        with self._lock:
            lost = [event for event in self._events if not event.delivered]
            self._events.clear()
        for _ in lost:
            self._count("mqtt_lost")

    @property
    def on_the_way(self) -> int:
        """How many messages the client has taken and not yet delivered."""
        with self._lock:
            self._forget_delivered()
            sent = [event for event in self._events if event.sent is not None]
            return len(self._on_the_way) + len(sent)

    def _send(self, states: dict[str, str]) -> None:
        records = [self._publish(topic, state, True) for topic, state in states.items()]  # noqa: FBT003
        with self._lock:
            self._on_the_way += [record for record in records if record is not None]
            self._forget_delivered()
            waiting = [event for event in self._events if event.sent is None]
        for event in waiting:
            event.sent = self._publish(event.topic, event.payload, False)  # noqa: FBT003

    def _forget_delivered(self) -> None:
        self._on_the_way = [each for each in self._on_the_way if not _is_published(each)]
        self._events = deque(event for event in self._events if not event.delivered)
        while len(self._events) > _EVENTS:
            self._events.popleft()
            self._count("mqtt_lost")

    def _state_topic(self, state: StateNow) -> str:
        parts = [state.question] if state.label is None else [state.question, state.label]
        camera = topic_part(state.camera, "status")
        return "/".join([self._topic, camera, "state", *map(topic_part, parts)])

    def _event_topic(self, event: StateEvent) -> str:
        return f"{self._topic}/{topic_part(event.camera, 'status')}/event"


def _is_published(record: Any) -> bool:
    try:
        return bool(record.is_published())
    except (RuntimeError, ValueError):  # its connection is gone
        return False
