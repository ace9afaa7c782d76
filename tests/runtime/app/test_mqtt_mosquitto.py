"""Answers to a real broker: Debian's mosquitto."""

from __future__ import annotations

import gc
import json
import shutil
import socket
import subprocess
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.app.outputs.mqtt import Mqtt
from snow_runtime.app.outputs.mqtt_broker import MqttOptions
from snow_runtime.app.states.event import Change, StateEvent, StateNews, StateNow
from snow_runtime.cameras.clock import Instant
from snow_runtime.errors import InputError
from tests.runtime.app.conftest import until
from tests.runtime.app.frames import answer_of
from tests.runtime.app.mosquitto import Listener, brokers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runtime.app.mosquitto import Start

pytest.importorskip("paho.mqtt.client")
# paho leaves a socket to the garbage collector where the handshake fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a broker with a configuration; give its port."""
    yield from brokers(tmp_path)


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def opened() -> Iterator[list[Any]]:
    found: list[Any] = []
    yield found
    for each in found:
        each.close()


@pytest.mark.parametrize(("version", "refused"), [("5", 1), ("3.1.1", 0)])
def test_what_an_access_list_refuses_is_counted_where_the_protocol_tells(  # noqa: PLR0917
    start: Start,
    tmp_path: Path,
    counts: Counter[str],
    opened: list[Any],
    version: Any,
    refused: int,
) -> None:
    (tmp_path / "acl").write_text("topic readwrite t/door\ntopic readwrite t/status\n")
    port = start("allow_anonymous true", f"acl_file {tmp_path / 'acl'}")
    output = Mqtt(
        f"mqtt://127.0.0.1:{port}/t",
        lambda what: counts.update([what]),
        MqttOptions(version=version),
    )
    opened += [output, listener := Listener(port, "t/#")]
    until(lambda: listener.got.get("t/status", ("",))[0] == "online")  # retained or new

    output.put(answer_of(camera="yard"))
    output.put(answer_of(camera="door"))

    until(lambda: "t/door" in listener.got)
    until(lambda: counts["mqtt_refused"] == refused)
    assert counts["mqtt_lost"] == 0


def test_who_comes_later_learns_the_last_answer_and_that_nobody_is_there(
    start: Start, opened: list[Any]
) -> None:
    port = start("allow_anonymous true")
    output = Mqtt(f"mqtt://127.0.0.1:{port}/t", lambda _: None, MqttOptions(retain=True))
    opened.append(listener := Listener(port, "t/#"))
    until(lambda: listener.got.get("t/status") is not None)
    output.put(answer_of(number=3))
    output.put(answer_of(camera="status"))
    output.close()

    opened.append(later := Listener(port, "t/#"))
    until(lambda: len(later.got) == 3)
    assert later.got["t/status"] == ("offline", True)
    assert later.got["t/door"][1]
    assert json.loads(later.got["t/door"][0])["frame"] == 3
    assert json.loads(later.got["t/%73tatus"][0])["camera"] == "status"


def test_the_broker_tells_when_the_client_is_cut_off(start: Start, opened: list[Any]) -> None:
    port = start("allow_anonymous true")
    output = Mqtt(f"mqtt://127.0.0.1:{port}/t", lambda _: None)
    opened += [output, listener := Listener(port, "t/status")]
    until(lambda: listener.got.get("t/status", ("",))[0] == "online")

    output._client.socket().shutdown(socket.SHUT_RDWR)  # no word of leave, as in a power cut

    until(lambda: listener.got["t/status"][0] == "offline")
    until(lambda: listener.got["t/status"][0] == "online")  # it comes back by itself


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Make an authority and a certificate for 127.0.0.1; give the authority's, and both files."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(*new, "-x509", "-subj", "/CN=ours", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(*new, "-subj", "/CN=broker", "-keyout", "host.key", "-out", "host.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
    openssl("x509", "-req", "-in", "host.csr", *signed, "-out", "host.pem")
    return folder / "ca.pem", folder / "host.pem", folder / "host.key"


def test_an_authority_of_ones_own(
    start: Start, tmp_path: Path, opened: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    authority, certificate, key = make_certificates(tmp_path)
    port = start(
        "allow_anonymous true",
        f"certfile {certificate}",
        f"keyfile {key}",
        f"cafile {authority}",
        "require_certificate true",
    )
    url = f"mqtts://127.0.0.1:{port}/t"

    stranger = Mqtt(url, lambda _: None)
    until(lambda: "give --mqtt-ca FILE. Trying again" in caplog.text)
    stranger.close()
    until(lambda: not [each for each in threading.enumerate() if "paho" in each.name])

    own = MqttOptions(authority, certificate, key)
    opened.append(output := Mqtt(url, lambda _: None, own))
    until(output._client.is_connected)
    del stranger
    gc.collect()


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("mqtt://host", {"authorities": "ca.pem"}, "begins with mqtts://"),
        ("mqtts://host", {"authorities": "nowhere.pem"}, "nowhere.pem, cannot be used"),
        ("mqtts://host", {"authorities": "empty.pem"}, "empty.pem, cannot be used"),
        ("mqtts://host", {"key": "ca.key"}, "Give --mqtt-cert too"),
        ("mqtts://host", {"certificate": "ca.pem", "key": "locked.key"}, "without a password"),
    ],
)
def test_certificates_that_cannot_be_used(
    tmp_path: Path, url: str, options: dict[str, str], said: str
) -> None:
    make_certificates(tmp_path)
    (tmp_path / "empty.pem").touch()
    locked = ["-aes128", "-passout", "pass:hunter2", "-out", "locked.key"]
    subprocess.run(
        ["openssl", "ec", "-in", "ca.key", *locked], cwd=tmp_path, check=True, capture_output=True
    )
    paths: dict[str, Any] = {name: tmp_path / file for name, file in options.items()}

    with pytest.raises(InputError, match=said):
        Mqtt(url, lambda _: None, MqttOptions(**paths))


def news_of(state: str, *events: StateEvent) -> StateNews:
    return StateNews(events, (StateNow("door", "food", None, state, 2.0),))


def test_states_end_right_and_no_event_is_lost_around_a_cut(
    start: Start, opened: list[Any], counts: Counter[str]
) -> None:
    port = start("allow_anonymous true")
    seen: set[str] = set()

    class Events(Listener):
        def _keep(self, _client: Any, _data: Any, message: Any) -> None:
            super()._keep(_client, _data, message)
            if message.topic == "t/door/event":
                seen.add(json.loads(message.payload)["after"])

    output = Mqtt(f"mqtt://127.0.0.1:{port}/t", lambda what: counts.update([what]))
    opened += [output, listener := Events(port, "t/#")]
    until(lambda: listener.got.get("t/status", ("",))[0] == "online")
    for number in range(40):
        change = Change(str(number - 1), str(number), "answers", Instant(0.0, 0.0), None)
        output.tell(news_of(str(number), StateEvent("door", "food", None, change)))
        if number == 20:
            output._client.socket().shutdown(socket.SHUT_RDWR)
    until(lambda: len(seen) == 40)
    until(lambda: output._states.on_the_way == 0)
    assert not counts

    opened.append(later := Listener(port, "t/door/#"))
    until(lambda: later.got)
    assert later.got == {"t/door/state/food": ("39", True)}
    output.tell(StateNews((), ()))
    until(lambda: listener.got["t/door/state/food"][0] == "")
