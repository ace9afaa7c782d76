"""Where answers go: lines of JSON, MQTT, nowhere. No output ever stops the loop."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from snow_runtime.app.patient import PatientPipe, descriptor_of
from snow_runtime.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from snow_runtime.app.answers import Answer


class Output(Protocol):
    """Takes answers."""

    def put(self, answer: Answer) -> None:
        """Hand over one answer; what cannot be handed over is counted, not raised."""

    def close(self) -> None:
        """Hand over what still waits, within a second, and let go."""


class Nowhere:
    """Drops every answer: for the page and the metrics alone."""

    def put(self, answer: Answer) -> None:
        """Drop it."""

    def close(self) -> None:
        """Do nothing."""


class JsonLines:
    """Writes one line of JSON for each answer, whole lines only.

    A reader that is slow holds the loop up for half a second; as long as it reads nothing after
    that, answers are lost at once. What a full disk refuses is lost, and the next one tried.

    Args:
        count: Is told `stdout_lost` for each answer that was not taken.
        stream: Where to; standard output by default.
        patience_s: How long to wait for the reader, in seconds.

    Raises:
        InputError: There is no standard output.
    """

    def __init__(
        self, count: Callable[[str], None], stream: TextIO | None = None, patience_s: float = 0.5
    ) -> None:
        found: TextIO | None = stream or sys.stdout
        if found is None:
            raise InputError(
                "Standard output is closed, expected an open one for the answers. Give "
                "--output none, or do not close it."
            )
        self._count = count
        self._stream = found
        descriptor = descriptor_of(found)
        self._pipe = None if descriptor is None else PatientPipe(descriptor, patience_s)

    def put(self, answer: Answer) -> None:
        """Write a line."""
        if not self._write(json.dumps(answer.to_dict()) + "\n"):
            self._count("stdout_lost")

    def close(self) -> None:
        """Leave the stream open: it is not ours."""
        if self._pipe is not None:
            self._pipe.finish()

    def _write(self, line: str) -> bool:
        if self._pipe is not None:
            return self._pipe.write(line.encode())
        try:
            self._stream.write(line)
        except (OSError, ValueError):  # ValueError: the stream was closed
            return False
        return True


class Mqtt:
    """Publishes each answer as JSON; the client reconnects by itself.

    Args:
        url: `mqtt://[user:password@]host[:port][/topic]`; answers go to `topic/CAMERA`.
        count: Is told `mqtt_lost` for each answer that no broker got.
        client: In place of paho's, for tests.

    Raises:
        InputError: The URL is not one of MQTT.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, url: str, count: Callable[[str], None], client: Any = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise InputError(
                "The MQTT broker's address is not one, expected mqtt://host[:1883][/topic]. Give "
                "--mqtt in that form."
            )
        self._topic = parts.path.strip("/") or "snow"
        self._count = count
        self._client = client or _paho()
        if parts.username:
            self._client.username_pw_set(parts.username, parts.password)
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.max_queued_messages_set(64)
        self._client.reconnect_delay_set(1, 30)
        port = parts.port or (8883 if parts.scheme == "mqtts" else 1883)
        self._client.connect_async(parts.hostname, port, keepalive=15)
        self._client.loop_start()

    def put(self, answer: Answer) -> None:
        """Publish if a broker is there; otherwise count the answer as lost: it will be stale."""
        if not self._client.is_connected():
            self._count("mqtt_lost")
            return
        found = self._client.publish(f"{self._topic}/{answer.camera}", json.dumps(answer.to_dict()))
        if found.rc != 0:
            self._count("mqtt_lost")

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


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
