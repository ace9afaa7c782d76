"""Messages that a broker is to keep, whatever becomes of the connection."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping


@dataclass
class Sent:
    """A payload, and what the client said when it took it; None until it did."""

    payload: str
    record: Any = None

    @property
    def delivered(self) -> bool:
        """Whether a broker is known to have it."""
        try:
            return self.record is not None and bool(self.record.is_published())
        except (RuntimeError, ValueError):  # its connection is gone
            return False


class MqttRetained:
    """Publishes what a broker is to keep, by topic, when it changes and when a connection begins.

    What it is to keep no more is taken off it, also if that happened while no broker was there.

    Args:
        publish: Function that gives the client a message, its payload and whether the broker is to
            keep it; it returns paho's record of it, or None where the client did not take it.
    """

    def __init__(self, publish: Callable[[str, str, bool], Any]) -> None:
        self._publish = publish
        self._sending = threading.Lock()  # one at a time, so that the newest comes last
        self._lock = threading.Lock()  # around what is noted; callbacks of the client may take it
        self._topics: dict[str, list[Sent]] = {}  # the last one is what the broker is to keep
        self._overtaken: list[Sent] = []  # by newer ones, while they were on the way
        self._inherited: set[str] = set()  # topics on which another client left something

    @property
    def topics(self) -> frozenset[str]:
        """Topics on which the broker may keep something."""
        with self._lock:
            self._forget_delivered()
            return frozenset({*self._topics, *self._inherited})

    def inherit(self, topics: Iterable[str]) -> None:
        """Take off, with the next `put`, what another client left on topics that are not in it."""
        with self._lock:
            self._inherited |= set(topics)

    def put(
        self,
        payloads: Mapping[str, str],
        steps: Mapping[str, str] | None = None,
        gone: Collection[str] = (),
    ) -> None:
        """Have the broker keep these, and nothing else of what it was given before.

        Args:
            payloads: Payloads by topic, none of them empty.
            steps: Payloads by topic that are to be seen once before the new ones.
            gone: Topics to take off the broker, even if nothing was given for them before.
        """
        with self._sending:
            with self._lock:
                self._forget_delivered()
                before, self._inherited = {*self._topics.keys(), *self._inherited}, set()
                ends = dict.fromkeys({*gone, *before} - payloads.keys(), "")
                for topic, payload in {**ends, **payloads}.items():
                    self._note(topic, payload, (steps or {}).get(topic))
            self._send()

    def replace(self, topic: str, step: str) -> None:
        """Take the place of what somebody else left on a topic.

        Args:
            topic: The topic.
            step: Payload that is to be seen once before the one to be kept; empty where the topic
                is to be taken off the broker.
        """
        with self._sending:
            with self._lock:
                kept = self._topics.get(topic, [])
                self._overtake(kept)
                last = [Sent(each.payload) for each in kept[-1:]]
                self._topics[topic] = [Sent(step), *last]
            self._send()

    def connected(self) -> None:
        """Publish everything again: a connection has begun."""
        with self._lock:
            self._overtaken = []
        self.again(None)

    def again(self, topics: Collection[str] | None) -> None:
        """Publish what is kept on some topics again; None for all."""
        with self._sending:
            with self._lock:
                self._forget_delivered()
                for topic, queue in self._topics.items():
                    if topics is None or topic in topics:
                        if topics is not None:
                            self._overtake(queue)
                        self._topics[topic] = [Sent(message.payload) for message in queue]
            self._send()

    @property
    def on_the_way(self) -> int:
        """How many messages the client has taken and not yet delivered."""
        with self._lock:
            found = [each for queue in self._topics.values() for each in queue] + self._overtaken
        return sum(each.record is not None and not each.delivered for each in found)

    def _note(self, topic: str, payload: str, step: str | None) -> None:
        queue = self._topics.setdefault(topic, [])
        if queue and queue[-1].payload == payload:
            return
        steps = [each for each in queue[:-1] if not each.delivered]
        self._overtake(queue[-1:])
        steps += [] if step is None else [Sent(step)]
        self._topics[topic] = [*steps, Sent(payload)]

    def _overtake(self, messages: Iterable[Sent]) -> None:
        """Note those that are on the way; of others there is nothing to wait for."""
        self._overtaken += [
            each for each in messages if each.record is not None and not each.delivered
        ]

    def _send(self) -> None:
        with self._lock:
            waiting = [
                (topic, each)
                for topic, queue in self._topics.items()
                for each in queue
                if each.record is None
            ]
        for topic, each in waiting:
            each.record = self._publish(topic, each.payload, True)  # noqa: FBT003

    def _forget_delivered(self) -> None:
        """Forget steps that a broker has, and topics that it knows to be empty."""
        self._overtaken = [each for each in self._overtaken if not each.delivered]
        kept = {
            topic: [*(each for each in queue[:-1] if not each.delivered), queue[-1]]
            for topic, queue in self._topics.items()
        }
        self._topics = {
            topic: queue
            for topic, queue in kept.items()
            if len(queue) > 1 or queue[-1].payload or not queue[-1].delivered
        }
