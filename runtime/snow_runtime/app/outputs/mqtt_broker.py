"""Where an MQTT broker is, and how to speak to it."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from snow_runtime.app.outputs.mqtt_topics import is_topic
from snow_runtime.errors import InputError, MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from pathlib import Path

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class Broker:
    """Where a broker is, and what to say there.

    Attributes:
        host: A name or an IP address.
        port: Port of the host.
        secure: Whether TLS is spoken.
        topic: First part of the topic: answers go to `topic/CAMERA`.
        user: Name to log in with; None for none.
        password: Password to log in with; None for none.
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
        if usable and ("#" in url or parts.query or (topic and not is_topic(topic))):
            msg = (
                "The MQTT topic holds '+', '#', '?' or a control character, or is the broker's own "
                "as $SYS is, expected none of them: brokers take nothing there. Give another, as "
                "in --mqtt mqtt://host/topic."
            )
            raise InputError(msg)
        if not usable or host is None:
            msg = (
                "The MQTT broker's address is not one, expected mqtt://host[:1883][/topic]. Give "
                "--mqtt in that form; write signs such as / and # in a password as %2F and %23."
            )
            raise InputError(msg)
        user, password = (None if it is None else unquote(it) for it in _login(parts))
        secure = parts.scheme == "mqtts"
        return Broker(host, port or _PORTS[parts.scheme], secure, topic or "snow", user, password)


@dataclass(frozen=True)
class MqttOptions:
    """How to speak to a broker.

    Attributes:
        authorities: A file of the certificates to trust, PEM; None for the system's.
        certificate: This client's own certificate, PEM; None for none.
        key: The certificate's key, PEM, without a password; None where it lies beside it.
        qos: 1 has the broker say what became of each answer, 0 does not.
        retain: Whether the broker keeps each camera's last answer for those who come later.
        version: Version of the protocol. Only from 5 on a broker tells that it refused an answer.
    """

    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    qos: Literal[0, 1] = 1
    retain: bool = False
    version: Literal["5", "3.1.1"] = "5"

    def check_files(self, *, secure: bool) -> None:
        """Look whether the files that are named go together; none is opened.

        Raises:
            InputError: They do not, or nothing is to be encrypted.
        """
        if not secure and any([self.authorities, self.certificate, self.key]):
            msg = (
                "Certificates are given for an MQTT broker that is spoken to without TLS, "
                "expected an address that begins with mqtts://. Correct it, or leave them out."
            )
            raise InputError(msg)
        if self.key is not None and self.certificate is None:
            msg = "--mqtt-key is the key of a certificate. Give --mqtt-cert too."
            raise InputError(msg)

    def tls_context(self, *, secure: bool) -> ssl.SSLContext | None:
        """Make what TLS needs; None where the broker's address asks for none.

        Raises:
            InputError: A file is missing or no such certificate, or nothing is to be encrypted.
        """
        self.check_files(secure=secure)
        if not secure:
            return None
        files = [self.authorities, self.certificate, self.key]
        try:
            context = ssl.create_default_context(cafile=self.authorities)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except OSError as error:  # an SSLError is one too
            shown = ", ".join(str(path) for path in files if path is not None)
            msg = (
                f"The certificates for the MQTT broker, {shown}, cannot be used: {error}. Expected "
                "PEM files that this user may read, and a key without a password."
            )
            raise InputError(msg) from error
        return context


def paho_client(version: str) -> Any:
    """Make a client of paho's for a version of the protocol.

    Raises:
        MissingDependencyError: Paho-mqtt is not installed.
    """
    try:
        from paho.mqtt import client
    except ImportError as error:
        msg = f"Answers go to MQTT by paho-mqtt, which is not installed; run: {pip_install('mqtt')}"
        raise MissingDependencyError(msg) from error
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    protocol = MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311
    return client.Client(CallbackAPIVersion.VERSION2, protocol=protocol)


def _login(parts: Any) -> tuple[str | None, str | None]:
    return (parts.username, parts.password) if parts.username else (None, None)
