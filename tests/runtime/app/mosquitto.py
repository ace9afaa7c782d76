"""A real broker, Debian's mosquitto, and a client that listens there."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.app.conftest import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Start = Callable[..., int]


def brokers(folder: Path) -> Iterator[Start]:
    """Give a function that starts a broker with a configuration and gives its port; end them."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    started: list[Any] = []

    def start(*lines: str, port: int | None = None) -> int:
        if port is None:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = int(free.getsockname()[1])
        path = folder / f"{port}.conf"
        path.write_text(
            "\n".join([f"listener {port} 127.0.0.1", "user root", *lines]), encoding="utf-8"
        )
        for before in started:
            if before.args[-1] == path:  # it gives way to a new one on its port
                before.kill()
                before.wait()
        started.append(subprocess.Popen([program, "-c", path], stderr=subprocess.DEVNULL))
        until(lambda: answers(port))
        return port

    yield start
    for process in started:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Listener:
    """A subscriber that comes when it is made.

    Attributes:
        got: By topic, the last payload and whether the broker had kept it.
        history: All messages in order, topic and payload.
    """

    def __init__(self, port: int, topic: str) -> None:
        from paho.mqtt import client
        from paho.mqtt.enums import CallbackAPIVersion

        self.got: dict[str, tuple[str, bool]] = {}
        self.history: list[tuple[str, str]] = []
        self._client = client.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_message = self._keep
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _keep(self, _client: Any, _data: Any, message: Any) -> None:
        text = message.payload.decode()
        self.history.append((message.topic, text))
        self.got[message.topic] = text, message.retain

    def last(self, topic: str) -> str | None:
        """Give the last payload on a topic."""
        return self.got.get(topic, (None,))[0]

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        """Say something."""
        self._client.publish(topic, payload, 1, retain)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        if (left := self._client.socket()) is not None:  # its thread ended before it came to that
            left.close()
