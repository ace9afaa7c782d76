"""Answers to an MQTT broker, as long as one takes them."""

from __future__ import annotations

import json
import logging
import queue
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.app.outputs.mqtt_broker import Broker, MqttOptions, paho_client
from snow_runtime.app.outputs.mqtt_retained import MqttRetained
from snow_runtime.app.outputs.mqtt_site import MqttSite
from snow_runtime.app.outputs.mqtt_states import MqttStates
from snow_runtime.app.outputs.mqtt_topics import LeftTopics, camera_part
from snow_runtime.app.throttled_logger import ThrottledLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.app.answers import FrameAnswer
    from snow_runtime.app.outputs.site import SiteOptions
    from snow_runtime.app.states.event import StateNews

_LOGGER = logging.getLogger(__name__)
_WAITING: Final = 64
"""So many answers wait for the network at most: more would only be older."""
_CLOSE_S: Final = 0.9
_DRAIN_S: Final = 0.2
_LEAST_S: Final = 0.1
_LOOK_S: Final = 0.01
_ONLINE: Final = "online"
_OFFLINE: Final = "offline"


class Mqtt:
    """Publishes each answer as JSON, in a thread of its own; the client reconnects by itself.

    An answer that no broker takes is lost and counted, never kept: it would be stale. States and
    their events wait for one, see :class:`MqttStates`. Whether a broker is
    there, and why not, is logged whenever it changes. `topic/status` is `online` as long as this
    client is, then `offline`, by the broker's own hand where the client is cut off; it is retained.

    Args:
        url: `mqtt://[user:password@]host[:port][/topic]`; answers go to `topic/CAMERA`, where
            signs of the camera's name that a topic cannot hold are written as `%23`.
        count: Callback that gets `mqtt_lost` for each answer that nobody is known to have taken,
            and `mqtt_refused` for each that the broker refused, as its access list may.
        options: How to speak to the broker.
        client: A client in place of paho's, for tests.

    Raises:
        InputError: The URL is not one of MQTT, its topic cannot be published on, or a certificate
            cannot be used.
        MissingDependencyError: Paho-mqtt is not installed.
    """

    def __init__(
        self,
        url: str,
        count: Callable[[str], None],
        options: MqttOptions | None = None,
        client: Any = None,
    ) -> None:
        broker = Broker.parse(url)
        self._options = options or MqttOptions()
        tls = self._options.tls_context(secure=broker.secure)
        self._topic = broker.topic
        self._status = {"topic": f"{broker.topic}/status", "qos": self._options.qos, "retain": True}
        self._own = 0  # the id of the message that tells the status
        self._where = f"{broker.host}:{broker.port}"
        self._count = count
        self._lock = threading.Lock()
        self._waiting = 0  # given to the client, and not yet to the network
        self._connection = 0
        self._state = ""
        self._faults, self._own_faults = ThrottledLogger(_LOGGER), ThrottledLogger(_LOGGER)
        self._closing = False
        self._states = MqttStates(self._publish_state, broker.topic, count)
        self._retained = MqttRetained(self._publish_site)
        self._site: MqttSite | None = None
        self._answered = set[str]()  # topics of answers that the broker keeps
        self._listening = False  # what an earlier program left comes before what is published
        self._given = queue.Queue["tuple[FrameAnswer, int] | None"]()  # with their connection
        self._publisher = threading.Thread(target=self._run, name="mqtt answers", daemon=True)
        self._client = client or paho_client(self._options.version)
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.will_set(payload=_OFFLINE, **self._status)
        self._client.on_pre_connect = self._on_pre_connect
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._client.reconnect_delay_set(1, 30)
        self._client.connect_async(broker.host, broker.port, keepalive=15)
        self._client.loop_start()
        self._publisher.start()

    def put(self, answer: FrameAnswer) -> None:
        """Publish if a broker is there and takes what it gets; otherwise count it as lost.

        It takes the caller no longer than a note: the next frame need not wait for the network.
        """
        with self._lock:
            full = self._waiting >= _WAITING
            connection = self._connection
            self._waiting += not full
        if full:
            self._count("mqtt_lost")
        else:
            self._given.put((answer, connection))

    def _run(self) -> None:
        """Publish what was given, until the end."""
        while (given := self._given.get()) is not None:
            answer, connection = given
            if connection == self._connection and not self._publish(answer):
                self._lose(connection)
            self._given.task_done()
        self._given.task_done()

    def _lose(self, connection: int) -> None:
        """Count an answer as lost, unless it was with its connection."""
        with self._lock:
            if connection != self._connection:
                return
            self._waiting -= 1
        self._count("mqtt_lost")

    def tell(self, news: StateNews) -> None:
        """Publish states and events; they wait for a broker where none is there."""
        self._states.tell(news)

    @property
    def left(self) -> LeftTopics:
        """What the broker may keep of this client."""
        with self._lock:
            answered = frozenset(self._answered)
        place = self._where, self._topic
        return LeftTopics(place, self._states.topics, self._retained.topics, answered)

    def inherit(self, left: LeftTopics) -> None:
        """Go on where another client ended: what it left and this one does not tell is taken off.

        States are with the next news; the rest once it attends to the installation.

        Args:
            left: What the other client left; of another broker or topic nothing is done.
        """
        if left.where == (self._where, self._topic):
            self._states.inherit(left.states)
            self._retained.inherit(left.site)
            with self._lock:
                self._answered |= left.answers

    def attend(self, options: SiteOptions) -> None:
        """Keep the broker's picture of the installation true until it is left; take commands.

        What an earlier program has left on the broker, and this one does not tell, is taken off.
        """
        place, cameras = (self._where, self._topic), options.look().cameras
        keep = cameras if self._options.retain else ()
        answered = frozenset(self._topic_of(camera) for camera in keep)

        def inherit(text: str) -> None:
            self.inherit(LeftTopics.from_json(place, text))
            with self._lock:
                old = self._answered - answered
                self._answered &= answered
            self._retained.inherit(old)

        inherit("[]")  # of the client before
        self._site = MqttSite(self._retained, self._topic, options, self._kept, inherit)
        if self._client.is_connected():
            self._subscribe()
        self._site.start()

    def leave(self) -> None:
        """Have the broker know the last of the installation, while it can still be asked."""
        if self._site is not None:
            self._site.close()

    def close(self) -> None:
        """Let the network take what still waits, for a second at most, and disconnect.

        Where the broker has not heard of the end by then, the connection is cut instead: after a
        good-bye it would leave out the will, which says it, and the last states stood for ever.
        """
        self._closing = True
        self._given.put(None)
        self._publisher.join(_DRAIN_S)
        self.leave()
        ends = time.monotonic() + _CLOSE_S
        if self._is_told(ends - _LEAST_S):
            self._client.disconnect()
        else:
            self._cut()
        # Its own thread ends with the program, should it not end before.
        ending = threading.Thread(target=self._client.loop_stop, name="mqtt end", daemon=True)
        ending.start()
        ending.join(max(_LEAST_S, ends - time.monotonic()))
        self._settle()
        self._states.close()

    def _is_told(self, ends: float) -> bool:
        """Tell the broker that this client ends; whether it has heard it before a time comes."""
        if not self._client.is_connected():
            return True
        sent = self._client.publish(payload=_OFFLINE, **self._status)
        self._own = sent.mid
        if sent.rc != 0:  # the connection has just gone, and the client does not know yet
            return False
        try:
            while not (heard := sent.is_published()) and time.monotonic() < ends:
                time.sleep(_LOOK_S)
        except (RuntimeError, ValueError):  # it has gone meanwhile
            return False
        return bool(heard)

    def _cut(self) -> None:
        """Close the connection without a good-bye."""
        connection = self._client.socket()
        with suppress(OSError):
            if connection is not None:
                connection.shutdown(socket.SHUT_RDWR)

    def _kept(self) -> str:
        return self.left.to_json()

    def _publish(self, answer: FrameAnswer) -> bool:
        try:
            topic, text = self._topic_of(answer.camera), json.dumps(answer.to_dict())
            if self._options.retain:
                with self._lock:
                    self._answered.add(topic)
            return self._give(topic, text, self._options.retain) is not None
        except Exception as error:  # noqa: BLE001 - it would end the thread, and all answers with it
            self._faults.error(f"An answer of {answer.camera} cannot be published: {error}", error)
            return False

    def _topic_of(self, camera: str) -> str:
        return f"{self._topic}/{camera_part(camera)}"

    def _publish_state(self, topic: str, text: str, retain: bool) -> Any:  # noqa: FBT001
        with self._lock:
            self._waiting += 1
        sent = self._give(topic, text, retain)
        if sent is None:
            with self._lock:
                self._waiting = max(0, self._waiting - 1)
        return sent

    def _publish_site(self, topic: str, text: str, retain: bool) -> Any:  # noqa: FBT001
        return self._publish_state(topic, text, retain) if self._listening else None

    def _give(self, topic: str, text: str, retain: bool) -> Any:  # noqa: FBT001
        """Give the client a message; return its record, or None where it does not take it."""
        if not self._client.is_connected():
            return None
        try:
            sent = self._client.publish(topic, text, qos=self._options.qos, retain=retain)
        except ValueError:  # a name of 65 kB, or one that is no text
            return None
        return sent if sent.rc == 0 else None

    def _settle(self) -> None:
        """Count the answers that still wait as lost: their connection is gone."""
        kept = self._states.on_the_way + self._retained.on_the_way  # they are published again
        with self._lock:
            lost, self._waiting = max(0, self._waiting - kept), 0
            self._connection += 1
        for _ in range(lost):
            self._count("mqtt_lost")

    def _on_pre_connect(self, *_: Any) -> None:
        self._settle()
        self._client.drop_out_messages()  # they were counted, and are old by now

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, *_: Any) -> None:
        if mid == self._own:
            if reason is not None and reason.is_failure:
                topic = self._status["topic"]
                self._own_faults.warning(
                    f"The MQTT broker {self._where} refuses {topic}, which tells whether this "
                    f"client is there: {reason}. Allow it in the broker's access list."
                )
            return
        with self._lock:
            self._waiting = max(0, self._waiting - 1)
        if reason is not None and reason.is_failure:
            self._count("mqtt_refused")
            self._faults.warning(f"The MQTT broker {self._where} refuses answers: {reason}.")

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, *_: Any) -> None:
        if reason.is_failure:
            old = "protocol version" in str(reason).lower()
            advice = "Give --mqtt-version 3.1.1" if old else "Look at user and password"
            self._tell("refused", f"refuses the connection: {reason}. {advice}.")
        else:
            self._subscribe()  # first, so that whoever sees it online can speak to it
            self._own = self._client.publish(payload=_ONLINE, **self._status).mid
            self._states.connected()
            self._retained.connected()
            self._tell("connected", "is connected.")

    def _subscribe(self) -> None:
        for topic in [] if self._site is None else self._site.subscriptions:
            self._client.subscribe(topic, self._options.qos)
        self._listening = True

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Any, *_: Any) -> None:
        for reason in reasons:
            if reason.is_failure:
                self._own_faults.warning(
                    f"The MQTT broker {self._where} refuses that this client listens: {reason}. "
                    f"Allow {self._topic}/status/kept, switches and discovery in its access list."
                )

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if self._site is not None:
            text = message.payload.decode(errors="replace")
            try:
                self._site.receive(message.topic, text, retained=message.retain)
            except Exception as error:  # noqa: BLE001 - it would end the client's thread
                self._faults.error(f"A message on {message.topic} failed: {error}", error)

    def _on_connect_fail(self, *_: Any) -> None:
        # paho calls this while it handles the exception, and does not tell which.
        why = sys.exc_info()[1] or "no connection"
        advice = ""
        if isinstance(why, ssl.SSLCertVerificationError):
            advice = " Where it has a certificate of your own making, give --mqtt-ca FILE."
        self._tell("unreachable", f"cannot be reached: {why}.{advice} Trying again.")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, *_: Any) -> None:
        self._listening = False
        self._settle()
        if self._state == "connected":
            self._tell("lost", f"has lost the connection: {reason}. Trying again.")
        elif self._state != "refused":
            self._tell("unreachable", f"does not answer: {reason}. Trying again.")

    def _tell(self, state: str, text: str) -> None:
        """Log a state when it begins, not at each attempt."""
        if state == self._state or self._closing:
            return
        good_from_the_start = not self._state and state == "connected"
        self._state = state
        level = logging.INFO if good_from_the_start else logging.WARNING
        _LOGGER.log(level, "The MQTT broker %s %s", self._where, text)
