"""How a box does, for those who look at all of them: retained by a broker."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.app.outputs.mqtt_broker import Broker, MqttOptions
from snow_runtime.app.outputs.mqtt_topics import topic_part
from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from snow_runtime.update.status import BoxStatus

_LOGGER = logging.getLogger(__name__)
_KEEPALIVE_S: Final = 15
_CLOSE_S: Final = 5.0


def fleet_topic(base: str, box: str) -> str:
    """Return the topic of a box's status; `+` in the place of the box is all of them."""
    return f"{base}/fleet/{box if box == '+' else topic_part(box)}"


class BoxStatusPublisher:
    """Publishes the newest status, by a connection of its own for each.

    It never holds up who tells it. What no broker takes gives way to the next.

    Args:
        url: `mqtt://[user:password@]host[:port][/topic]`, or `mqtts://`.
        options: How to speak to the broker.

    Raises:
        InputError: The URL is not one of MQTT, or a certificate cannot be used.
        MissingDependencyError: Paho-mqtt is not installed.
    """

    def __init__(self, url: str, options: MqttOptions | None = None) -> None:
        try:
            from paho.mqtt import publish
        except ImportError as error:
            msg = f"MQTT needs paho-mqtt, which is not installed; run: {pip_install('mqtt')}"
            raise MissingDependencyError(msg) from error
        self._single: Any = publish.single
        # It logs an error at the end of each connection that went well; what fails is raised.
        logging.getLogger("paho.mqtt.client").setLevel(logging.CRITICAL)
        self._broker = Broker.parse(url)
        self._tls = (options or MqttOptions()).tls_context(secure=self._broker.secure)
        self._changed = threading.Condition()
        self._next: BoxStatus | None = None
        self._busy = False
        self._failed = False
        threading.Thread(target=self._publish, name="box status", daemon=True).start()

    def put(self, status: BoxStatus) -> None:
        """Have the broker keep a status in the place of the one before."""
        with self._changed:
            self._next = status
            self._changed.notify_all()

    def close(self) -> None:
        """Let the last status go out, for some seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._next is None and not self._busy, _CLOSE_S)

    def _publish(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None)
                status, self._next, self._busy = self._next, None, True
            if status is not None:
                self._send(status)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _send(self, status: BoxStatus) -> None:
        broker = self._broker
        login = {"username": broker.user, "password": broker.password}
        try:
            self._single(
                fleet_topic(broker.topic, status.box),
                status.to_json(),
                qos=1,
                retain=True,
                hostname=broker.host,
                port=broker.port,
                keepalive=_KEEPALIVE_S,
                auth=None if broker.user is None else login,
                tls=self._tls,
            )
        except Exception as error:  # noqa: BLE001 - paho raises its own, OSError and ValueError
            if not self._failed:
                where = f"{broker.host}:{broker.port}"
                _LOGGER.warning("The MQTT broker %s does not get the status: %s", where, error)
            self._failed = True
        else:
            self._failed = False
