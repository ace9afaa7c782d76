"""Answers to an MQTT broker, as long as one takes them."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from snow_runtime.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.app.answers import Answer

_LOGGER = logging.getLogger(__name__)
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_WAITING: Final = 64
"""So many answers wait for the network at most: more would only be older."""
_CLOSE_S: Final = 0.9


@dataclass(frozen=True)
class Broker:
    """Where a broker is, and what to say there.

    Attributes:
        host: A name or an IP address.
        port: Of the host.
        secure: Whether TLS is spoken.
        topic: Answers go to `topic/CAMERA`.
        user: None for none.
        password: None for none.
    """

    host: str
    port: int
    secure: bool
    topic: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @staticmethod
    def parse(url: str) -> Broker:
        """Take an address apart: `mqtt://[user:password@]host[:port][/topic]`, or `mqtts://`.

        User, password and topic may hold signs as `%40`.

        Raises:
            InputError: It is not of that form, or nothing can be published on the topic.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            usable = bool(host and host.encode("idna")) and parts.scheme in _PORTS and port != 0
        except ValueError:  # its text may hold the password
            usable = False
        usable = usable and not re.search(r"[\0-\x1f\x7f]", url)  # urlsplit passes over some
        topic = unquote(parts.path).strip("/") if usable else ""
        if usable and ("#" in url or parts.query or re.search(r"[+#\0]", topic)):
            raise InputError(
                "The MQTT topic holds '+', '#', '?' or a NUL, expected none of them: they mean "
                "something else there. Give another, as in --mqtt mqtt://host/topic."
            )
        if not usable or host is None:
            raise InputError(
                "The MQTT broker's address is not one, expected mqtt://host[:1883][/topic]. Give "
                "--mqtt in that form; write signs such as / and # in a password as %2F and %23."
            )
        user, password = (None if it is None else unquote(it) for it in _login(parts))
        secure = parts.scheme == "mqtts"
        return Broker(host, port or _PORTS[parts.scheme], secure, topic or "snow", user, password)


class Mqtt:
    """Publishes each answer as JSON; the client reconnects by itself.

    What no broker takes is lost and counted, never kept: it would be stale. Whether a broker is
    there, and why not, is logged whenever it changes.

    Args:
        url: `mqtt://[user:password@]host[:port][/topic]`; answers go to `topic/CAMERA`, where the
            signs that a topic gives a meaning are `_` in the camera's name.
        count: Is told `mqtt_lost` for each answer that the network did not take.
        client: In place of paho's, for tests.

    Raises:
        InputError: The URL is not one of MQTT, or its topic cannot be published on.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, url: str, count: Callable[[str], None], client: Any = None) -> None:
        broker = Broker.parse(url)
        self._topic = broker.topic
        self._where = f"{broker.host}:{broker.port}"
        self._count = count
        self._lock = threading.Lock()
        self._waiting = 0  # given to the client, and not yet to the network
        self._connection = 0
        self._state = ""
        self._closing = False
        self._client = client or _paho()
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.secure:
            self._client.tls_set()
        self._client.on_pre_connect = lambda *_: self._settle()  # paho has thrown away the rest
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.reconnect_delay_set(1, 30)
        self._client.connect_async(broker.host, broker.port, keepalive=15)
        self._client.loop_start()

    def put(self, answer: Answer) -> None:
        """Publish if a broker is there and takes what it gets; otherwise count it as lost."""
        with self._lock:
            full = self._waiting >= _WAITING
            connection = self._connection
            self._waiting += not full
        if full:
            self._count("mqtt_lost")
        elif not self._publish(answer):
            with self._lock:
                if connection != self._connection:
                    return  # it was counted with that connection
                self._waiting -= 1
            self._count("mqtt_lost")

    def close(self) -> None:
        """Let the network take what still waits, for a second at most, and disconnect."""
        self._closing = True
        self._client.disconnect()
        # The client ends only when a broker has taken all; its own thread ends with the program.
        ending = threading.Thread(target=self._client.loop_stop, name="mqtt end", daemon=True)
        ending.start()
        ending.join(_CLOSE_S)
        self._settle()

    def _publish(self, answer: Answer) -> bool:
        if not self._client.is_connected():
            return False
        camera = re.sub(r"[/+#\0]", "_", answer.camera)
        text = json.dumps(answer.to_dict())
        try:
            return bool(self._client.publish(f"{self._topic}/{camera}", text).rc == 0)
        except ValueError:  # a name of 65 kB, or one that is no text
            return False

    def _settle(self) -> None:
        """Count what still waits as lost: its connection is gone."""
        with self._lock:
            lost, self._waiting = self._waiting, 0
            self._connection += 1
        for _ in range(lost):
            self._count("mqtt_lost")

    def _on_publish(self, *_: Any) -> None:
        with self._lock:
            self._waiting = max(0, self._waiting - 1)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, *_: Any) -> None:
        if reason.is_failure:
            self._tell("refused", f"refuses the connection: {reason}. Look at user and password.")
        else:
            self._tell("connected", "is connected.")

    def _on_connect_fail(self, *_: Any) -> None:
        # paho calls this while it handles the exception, and does not tell which.
        why = sys.exc_info()[1] or "no connection"
        self._tell("unreachable", f"cannot be reached: {why}. Trying again.")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, *_: Any) -> None:
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


def _login(parts: Any) -> tuple[str | None, str | None]:
    return (parts.username, parts.password) if parts.username else (None, None)


def _paho() -> Any:
    try:
        from paho.mqtt import client
    except ImportError as error:
        raise MissingDependencyError(
            "Answers go to MQTT by paho-mqtt, which is not installed; run: "
            "pip install 'snow-deploy[mqtt]'"
        ) from error
    from paho.mqtt.enums import CallbackAPIVersion

    return client.Client(CallbackAPIVersion.VERSION2)
