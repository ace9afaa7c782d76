"""Who is told of events: a broker that goes and comes with a listener, a webhook that refuses."""

from __future__ import annotations

import http.server
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

_START_S: Final = 10.0


def identity(event: dict[str, Any]) -> str:
    """Return what tells an event from all others."""
    return json.dumps({key: event[key] for key in event if key != "number"}, sort_keys=True)


class Broker:
    """Mosquitto, with what it keeps on a disk."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            msg = "mosquitto is not installed; apt install mosquitto"
            raise SystemExit(msg)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        lines = [f"listener {self.port} 127.0.0.1", "user root", "allow_anonymous true"]
        lines += ["persistence true", f"persistence_location {folder}/", "max_queued_messages 0"]
        path = folder / "mosquitto.conf"
        path.write_text("\n".join(lines), encoding="utf-8")
        self._command = [program, "-c", str(path)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs; return when it answers."""
        if self._process is not None:
            return
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, stderr=quiet)  # noqa: S603 - our own words
        ends = time.monotonic() + _START_S
        while time.monotonic() < ends:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.05)
        msg = "mosquitto does not answer"
        raise SystemExit(msg)

    def stop(self) -> None:
        """Stop it; it saves what it keeps."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
            self._process = None


class Listener:
    """Subscribes for good: what comes while it is away waits for it.

    Attributes:
        events: What identifies the events that came.
        count: How many came, doubles included.
        kept: Payloads by topic of what the broker keeps.
    """

    def __init__(self, port: int, name: str, topic: str) -> None:
        from paho.mqtt import client
        from paho.mqtt.enums import CallbackAPIVersion

        self.events: set[str] = set()
        self.count = 0
        self.kept: dict[str, str] = {}
        self._client = client.Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_message = self._keep
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _keep(self, _client: Any, _data: Any, message: Any) -> None:
        text = message.payload.decode()
        if message.topic.endswith("/event"):
            self.count += 1
            self.events.add(identity(json.loads(text)))
        else:
            self.kept[message.topic] = text

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()


class Receiver(http.server.ThreadingHTTPServer):
    """Takes events, or refuses them.

    Attributes:
        refuses: Whether events are answered by 503.
        forgets: Whether events are taken and then answered by 500 all the same.
        events: What identifies the events that were taken.
        count: How many came, doubles and refused ones included.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.refuses = self.forgets = False
        self.events: set[str] = set()
        self.count = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Post(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.count += 1
        if not self.server.refuses:
            self.server.events.add(identity(json.loads(body)))
        status = 503 if self.server.refuses else 500 if self.server.forgets else 204
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class PageViewer:
    """Looks at the live page, and notes every change of a state by its number.

    Attributes:
        changes: The changes, by number.
        states: All states of the camera, as the page shows them at present.
    """

    def __init__(self, address: str) -> None:
        self._address = f"{address}events"
        self.changes: dict[int, dict[str, Any]] = {}
        self.states: dict[str, Any] = {}
        self._ends = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ends = True
        self._thread.join(15)

    def _run(self) -> None:
        while not self._ends:
            with suppress(OSError):
                self._follow()
            time.sleep(0.2)

    def _follow(self) -> None:
        with urllib.request.urlopen(self._address, timeout=10) as stream:  # noqa: S310 - http
            for line in stream:
                if self._ends:
                    return
                if line.startswith(b"data: "):
                    self._look(json.loads(line[6:]))

    def _look(self, state: dict[str, Any]) -> None:
        for change in state.get("changes", {}).get("events", ()):
            self.changes[change["number"]] = change
        for camera in state.get("cameras", ()):
            self.states = camera["states"]
