"""What boxes tell: out of a folder of their statuses, or off a broker that keeps them."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.fleet.errors import PublishError
from snow_runtime.app.outputs.box_status import fleet_topic
from snow_runtime.app.outputs.mqtt_broker import Broker, MqttOptions
from snow_runtime.errors import MissingDependencyError, SnowError
from snow_runtime.install_hint import pip_install
from snow_runtime.update.release import read_document
from snow_runtime.update.status import BoxStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LOGGER = logging.getLogger(__name__)
_CONNECT_S: Final = 20.0
_LONGEST_S: Final = 30.0  # whoever tells without an end does not hold up the table
_LARGEST_BYTES: Final = 1 << 17
_KEEPALIVE_S: Final = 15


def read_statuses(folder: Path) -> list[BoxStatus]:
    """Read the statuses of boxes out of a folder, and the folders in it.

    Raises:
        PublishError: There is no such folder, or a file is none.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder, expected one with status.json files. Correct the path."
        raise PublishError(msg)
    return newest(_read(path) for path in sorted(folder.rglob("*.json")))


def newest(statuses: Iterable[BoxStatus]) -> list[BoxStatus]:
    """Return the newest status of each box, by the boxes' ids."""
    found: dict[str, BoxStatus] = {}
    for each in statuses:
        before = found.get(each.box)
        if before is None or each.moment >= before.moment:
            found[each.box] = each
    return [found[box] for box in sorted(found)]


def ask_broker(
    url: str, options: MqttOptions | None = None, wait_s: float = 2.0
) -> list[BoxStatus]:
    """Read the statuses that a broker keeps.

    A message that is none is left out with a warning, and so is one that tells of another box than
    its topic is for: a broker can see to it that each box writes to its own topic alone.

    Args:
        url: `mqtt://[user:password@]host[:port][/topic]`, or `mqtts://`.
        options: How to speak to the broker.
        wait_s: How long messages are waited for, in seconds, from the last one on that was kept.

    Raises:
        InputError: The URL is not one of MQTT, or a certificate cannot be used.
        PublishError: The broker cannot be reached, or refuses.
        MissingDependencyError: Paho-mqtt is not installed.
    """
    try:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        msg = f"MQTT needs paho-mqtt, which is not installed; run: {pip_install('mqtt')}"
        raise MissingDependencyError(msg) from error
    broker = Broker.parse(url)
    where = f"{broker.host}:{broker.port}"
    tls = (options or MqttOptions()).tls_context(secure=broker.secure)
    listener = _Listener(broker.topic)
    client = paho.Client(CallbackAPIVersion.VERSION2)
    if broker.user is not None:
        client.username_pw_set(broker.user, broker.password)
    if tls is not None:
        client.tls_set_context(tls)
    client.on_connect, client.on_message = listener.on_connect, listener.on_message
    try:
        client.connect(broker.host, broker.port, keepalive=_KEEPALIVE_S)
    except (OSError, ValueError) as error:
        msg = f"The MQTT broker {where} cannot be reached: {error}. Look at the address."
        raise PublishError(msg) from error
    client.loop_start()
    try:
        if not listener.answered.wait(_CONNECT_S) or listener.refusal:
            why = listener.refusal or "it does not answer"
            msg = f"The MQTT broker {where} gives no statuses: {why}. Look at user and password."
            raise PublishError(msg)
        end = time.monotonic() + _LONGEST_S
        while listener.came.wait(wait_s) and time.monotonic() < end:
            listener.came.clear()
    finally:
        client.disconnect()
        client.loop_stop()
    for topic, why in listener.refused.items():
        _LOGGER.warning("What %s says is left out: %s", topic, why)
    return newest(listener.found)


class _Listener:
    """Gathers statuses by the callbacks of paho."""

    def __init__(self, base: str) -> None:
        self._base = base
        self.found: list[BoxStatus] = []
        self.refused: dict[str, str] = {}
        self.answered, self.came = threading.Event(), threading.Event()
        self.refusal = ""

    def on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, *_: Any) -> None:
        self.refusal = str(reason) if reason.is_failure else ""
        self.answered.set()
        client.subscribe(fleet_topic(self._base, "+"), 1)

    def on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if not message.payload:  # what was kept there is taken off
            return
        if message.retain:
            self.came.set()
        try:
            self.found.append(self._status(message.topic, message.payload))
        except SnowError as error:
            self.refused[message.topic] = str(error)

    def _status(self, topic: str, payload: bytes) -> BoxStatus:
        """Read a message.

        Raises:
            SnowError: It is no status, or one of another box.
        """
        if len(payload) > _LARGEST_BYTES:
            msg = f"it has {len(payload)} bytes, expected {_LARGEST_BYTES} or less."
            raise PublishError(msg)
        status = read_document(BoxStatus, payload, "status")
        if topic != fleet_topic(self._base, status.box):
            msg = f"it tells of the box {status.box!r}. Look who can write to other boxes' topics."
            raise PublishError(msg)
        return status


def _read(path: Path) -> BoxStatus:
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error}. Allow this user to read it, or take it away."
        raise PublishError(msg) from error
    try:
        return read_document(BoxStatus, content, "status")
    except SnowError as error:
        msg = f"{path} is no status of a box: {error} Gather it again, or take it away."
        raise PublishError(msg) from error
