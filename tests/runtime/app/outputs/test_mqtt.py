from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.app.outputs.mqtt import Mqtt
from snow_runtime.app.outputs.mqtt_broker import Broker
from snow_runtime.errors import InputError
from tests.runtime.app.conftest import until
from tests.runtime.app.frames import answer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.app.answers import FrameAnswer

URL = "mqtt://me:secret@broker:1999/site/one"


class Client:
    """What is used of paho's client; tests play the broker by its callbacks."""

    on_connect: Any
    on_connect_fail: Any
    on_disconnect: Any
    on_pre_connect: Any
    on_publish: Any
    on_subscribe: Any

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.connected, self.rc, self.mid = True, 0, 0
        self.hears = True

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **named: self.calls.append((name, *given, *named.items()))

    def is_connected(self) -> bool:
        return self.connected

    def publish(self, topic: str, payload: str, qos: int, retain: bool) -> Any:
        if len(topic) > 65_535:
            msg = "Topic too long"
            raise ValueError(msg)
        self.mid += 1
        if topic.endswith("/status"):
            self.calls.append(("status", payload, qos, retain))
        else:
            self.calls.append(("publish", topic, json.loads(payload)["frame"]))
        return SimpleNamespace(rc=self.rc, mid=self.mid, is_published=lambda: self.hears)

    def connects(self, failure: str = "") -> None:
        reason = type("Reason", (str,), {"is_failure": bool(failure)})(failure)
        self.on_connect(self, None, None, reason, None)

    def disconnects(self) -> None:
        self.connected = False
        self.on_disconnect(self, None, None, "Unspecified error", None)

    def fails(self) -> None:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError:
            self.on_connect_fail(self, None)

    @property
    def published(self) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == "publish"]


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def output(client: Client, counts: Counter[str]) -> Mqtt:
    return Mqtt(URL, lambda what: counts.update([what]), client=client)


def put(output: Mqtt, answer: FrameAnswer) -> None:
    """Put one, and wait until the thread that publishes is through with it."""
    output.put(answer)
    output._given.join()


def test_answers_go_to_the_broker_and_lost_ones_are_counted(
    output: Mqtt, client: Client, counts: Counter[str]
) -> None:
    put(output, answer_of(number=1))
    client.on_publish(client, None, 1, None, None)
    client.connected = False
    put(output, answer_of(number=2))
    client.connected, client.rc = True, 4
    put(output, answer_of(number=3))
    client.rc = 0
    output.close()

    assert ("username_pw_set", "me", "secret") in client.calls
    assert ("connect_async", "broker", 1999, ("keepalive", 15)) in client.calls
    assert client.published == [("site/one/door", 1), ("site/one/door", 3)]
    assert counts == {"mqtt_lost": 2}
    assert client.calls[-3:] == [("status", "offline", 1, True), ("disconnect",), ("loop_stop",)]


def test_an_end_that_no_broker_hears_of_is_told_by_the_will(client: Client) -> None:
    """On a slow link more waits than goes out. After a good-bye the broker says nothing."""
    client.hears = False
    ours, theirs = socket.socketpair()
    client.socket = lambda: ours  # type: ignore[attr-defined]
    output = Mqtt(URL, lambda _: None, client=client)
    began = time.monotonic()
    output.close()

    assert time.monotonic() - began < 5
    assert ("disconnect",) not in client.calls
    assert client.calls[-1] == ("loop_stop",)
    assert theirs.recv(1) == b""  # it is closed
    ours.close()
    theirs.close()


@pytest.mark.parametrize("rc", [0, 4])
def test_a_connection_that_goes_as_it_ends_ends_it_all_the_same(client: Client, rc: int) -> None:
    """The client still says that it is connected."""

    def gone() -> bool:
        msg = "Message publish failed: The client is not currently connected."
        raise RuntimeError(msg)

    output = Mqtt(URL, lambda _: None, client=client)
    client.publish = lambda **_: SimpleNamespace(rc=rc, mid=9, is_published=gone)  # type: ignore[method-assign]
    output.close()
    assert client.calls[-1] == ("loop_stop",)
    assert ("disconnect",) not in client.calls


@pytest.mark.parametrize(
    "url",
    [
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://me:hunter22@broker:99999",
        "mqtt://me:hunter22@broker:port",
        "mqtt://me:hunter22@broker:0",
        "mqtt://me:hunter22@[::1",
        "mqtt://me:hunter22@a..b",
        "mqtt://me:hunter22#@broker",
        "mqtt://me:hunter22@bro\nker",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InputError, match=r"expected mqtt://host") as caught:
        Mqtt(url, lambda _: None, client=Client())
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "topic", ["a/+/b", "a/#", "a%23", "a%2Bb", "a%00b", "a?b", "a%0Ab", "$SYS/a", "%24share/a"]
)
def test_a_topic_that_nothing_can_be_published_on(topic: str) -> None:
    with pytest.raises(InputError, match="topic holds") as caught:
        Mqtt(f"mqtt://me:hunter22@broker/{topic}", lambda _: None, client=Client())
    assert "hunter22" not in str(caught.value)


def test_an_address_is_unquoted() -> None:
    found = Broker.parse("mqtts://m%40e:p%2F%23%25@[::1]/the%20site/")

    assert (found.user, found.password, found.topic) == ("m@e", "p/#%", "the site")
    assert (found.host, found.port, found.secure) == ("::1", 8883, True)
    assert "p/#%" not in repr(found)
    assert Broker.parse("mqtt://broker") == Broker("broker", 1883, secure=False, topic="snow")


def test_a_camera_named_by_its_address(output: Mqtt, client: Client, counts: Counter[str]) -> None:
    put(output, answer_of(camera="rtsp://cam/a+b#1\0"))
    put(output, answer_of(camera="x" * 70_000))

    assert client.published == [("site/one/rtsp:%2F%2Fcam%2Fa%2Bb%231%00", 0)]
    assert counts == {"mqtt_lost": 1}


def test_a_broker_that_takes_nothing_any_more(
    output: Mqtt, client: Client, counts: Counter[str]
) -> None:
    for number in range(100):
        put(output, answer_of(number=number))
    assert len(client.published) == 64
    assert counts == {"mqtt_lost": 36}

    for _ in range(4):  # it takes some
        client.on_publish(client, None, 1, None, None)
    put(output, answer_of(number=100))
    assert client.published[-1] == ("site/one/door", 100)

    client.disconnects()  # the others went nowhere, and are told once
    client.on_pre_connect(client, None)
    assert counts == {"mqtt_lost": 36 + 61}
    client.connected = True
    put(output, answer_of(number=101))
    output.close()
    assert counts == {"mqtt_lost": 36 + 61 + 1}


def test_a_connection_lost_while_publishing_is_counted_once(
    output: Mqtt, client: Client, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(*_: object, **_options: object) -> Any:
        client.disconnects()
        return SimpleNamespace(rc=4)

    monkeypatch.setattr(client, "publish", publish)
    put(output, answer_of())

    assert counts == {"mqtt_lost": 1}


def test_an_answer_waits_for_no_network(
    output: Mqtt, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    publish = client.publish
    monkeypatch.setattr(
        client, "publish", lambda *given, **named: goes_on.wait(10) and publish(*given, **named)
    )

    for number in range(3):
        output.put(answer_of(number=number))  # while the first is being published

    assert client.published == []
    goes_on.set()
    output._given.join()
    assert client.published == [("site/one/door", number) for number in range(3)]


def test_an_answer_that_cannot_be_written_is_lost_and_ends_nothing(
    output: Mqtt, client: Client, counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(70):  # more than may wait
        put(output, answer_of(number=object()))  # type: ignore[arg-type]
    put(output, answer_of(number=1))

    assert counts == {"mqtt_lost": 70}
    assert client.published == [("site/one/door", 1)]
    assert "cannot be published: Object of type object is not JSON" in caplog.text


def test_a_client_that_fails_ends_no_later_answer(
    output: Mqtt, client: Client, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = client.publish
    monkeypatch.setattr(client, "publish", lambda *_given, **_named: 1 / 0)
    put(output, answer_of(number=0))
    monkeypatch.setattr(client, "publish", publish)
    put(output, answer_of(number=1))

    assert counts == {"mqtt_lost": 1}
    assert client.published == [("site/one/door", 1)]


def test_changes_are_logged_and_retries_are_not(
    output: Mqtt, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        client.fails()
    for _ in range(3):
        client.connects("Not authorized")
        client.disconnects()
    client.connects()
    client.disconnects()
    client.fails()
    client.connects()
    output.close()
    client.disconnects()

    assert [record.getMessage().split(" ", 4)[4] for record in caplog.records] == [
        "cannot be reached: [Errno 111] Connection refused. Trying again.",
        "refuses the connection: Not authorized. Look at user and password.",
        "is connected.",
        "has lost the connection: Unspecified error. Trying again.",
        "cannot be reached: [Errno 111] Connection refused. Trying again.",
        "is connected.",
    ]
    assert "broker:1999" in caplog.text
    assert "secret" not in caplog.text


class Deaf:
    """A broker that answers what a client says first, and reads nothing after that."""

    def __init__(self, answer: int) -> None:
        self.answer = answer
        self.clients: list[socket.socket] = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.url = f"mqtt://me:hunter22@127.0.0.1:{self.listener.getsockname()[1]}/t"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                found, _ = self.listener.accept()
                self.clients.append(found)
                found.recv(4096)
                found.sendall(bytes([0x20, 3, 0, self.answer, 0]))

    def close(self) -> None:
        self.listener.close()
        for found in self.clients:
            found.close()


@pytest.fixture
def deaf(request: pytest.FixtureRequest) -> Iterator[Deaf]:
    pytest.importorskip("paho.mqtt.client")
    with closing(Deaf(request.param)) as broker:
        yield broker


@pytest.mark.parametrize("deaf", [0], indirect=True)
def test_closing_does_not_wait_for_a_broker_that_takes_nothing(
    deaf: Deaf, counts: Counter[str]
) -> None:
    output = Mqtt(deaf.url, lambda what: counts.update([what]))
    until(output._client.is_connected)
    while counts["mqtt_lost"] < 10:  # until the system's buffers and ours are full
        output.put(answer_of(camera="x" * 60_000))
    assert len(output._client._out_messages) <= 64 + 1  # and the status
    before = counts["mqtt_lost"]
    began = time.monotonic()
    output.close()

    assert time.monotonic() - began < 20  # it would take nothing for ever
    assert counts["mqtt_lost"] > before + 50


@pytest.mark.parametrize("deaf", [0x87], indirect=True)
def test_a_refusal_is_told_with_its_reason(deaf: Deaf, caplog: pytest.LogCaptureFixture) -> None:
    output = Mqtt(deaf.url, lambda _: None)
    until(lambda: "refuses the connection: Not authorized" in caplog.text)
    output.close()

    assert "hunter22" not in caplog.text


def test_a_broker_that_is_not_there_is_told(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("paho.mqtt.client")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    output = Mqtt(f"mqtt://127.0.0.1:{port}", lambda _: None)
    until(lambda: "Connection refused. Trying again" in caplog.text)
    output.close()


def test_a_status_that_the_broker_refuses_is_told_and_no_lost_answer(
    output: Mqtt, client: Client, counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.connects()
    reason = type("Reason", (str,), {"is_failure": True})("Not authorized")

    client.on_publish(client, None, client.mid, reason, None)

    assert "refuses site/one/status, which tells" in caplog.text
    assert "Not authorized" in caplog.text
    assert counts == {}
    put(output, answer_of())
    client.on_publish(client, None, client.mid, reason, None)
    assert "refuses answers: Not authorized" in caplog.text
    assert counts == {"mqtt_refused": 1}


def test_a_broker_that_lets_nobody_listen_is_told_of(
    output: Mqtt, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert output is not None
    reasons = [type("Reason", (str,), {"is_failure": bad})("Not authorized") for bad in (0, 1)]
    client.on_subscribe(client, None, 1, reasons, None)
    assert caplog.text.count("refuses that this client listens: Not authorized") == 1
