"""The tables of a configuration file, and which option of `run` each key is."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PARAMETER: Final = "parameter"
_WRITE: Final = "write"


@dataclass(frozen=True)
class Secret:
    """A secret that lies elsewhere: `{ env = "NAME" }` or `{ file = "PATH" }`.

    Attributes:
        env: Name of an environment variable; None where it is a file.
        file: Path of a file of one line; None where it is a variable.
    """

    env: str | None = None
    file: str | None = None

    @property
    def reference(self) -> str:
        """How options and addresses name it."""
        return f"{{env:{self.env}}}" if self.env is not None else f"{{file:{self.file}}}"


def _key(parameter: str, write: Callable[[Any], Any] = lambda value: value) -> Any:
    """Declare a key that is an option of `run`.

    Args:
        parameter: The option's name as click has it.
        write: What makes of the key's value what the option takes.
    """
    return field(default=None, metadata={_PARAMETER: parameter, _WRITE: write})


@dataclass(frozen=True)
class ViewTable:
    """A view of a camera; the table's name is the view's.

    Attributes:
        box: Left, top, right and bottom, as shares of the picture.
        polygon: Points, each with x and y as shares of the picture; the view is the box around it.
        rotate: Degrees by which it is turned clockwise: 0, 90, 180 or 270.
    """

    box: tuple[float, ...] | None = None
    polygon: tuple[tuple[float, ...], ...] | None = None
    rotate: int | None = None


@dataclass(frozen=True)
class MaskTable:
    """A region of a camera's picture that is blacked out before it is kept; named by the table.

    Attributes:
        box: Left, top, right and bottom, as shares of the picture.
        polygon: Points, each with x and y as shares of the picture.
    """

    box: tuple[float, ...] | None = None
    polygon: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class QuestionTable:
    """What is asked; the table's name is the question's.

    Attributes:
        task: Name of the task that answers.
        camera: Name of the camera; left out for all.
        view: Name of a view of the camera; left out for the whole picture.
        seconds: Least seconds between two times that it is asked.
        motion: Share of the view that has to change before it is asked.
        hold: Seconds for which it is asked on after a motion.
        agree: How many of its last answers make a state, as `"4/5"`.
        dwell: Least seconds that its state lasts.
        upper: Probability that a label has to reach to become its state.
        lower: Probability below which it is its state no longer.
        stale: Seconds without an answer after which its state is stale.
    """

    task: str
    camera: str | None = None
    view: str | None = None
    seconds: float | None = None
    motion: float | None = None
    hold: float | None = None
    agree: str | None = None
    dwell: float | None = None
    upper: float | None = None
    lower: float | None = None
    stale: float | None = None


@dataclass(frozen=True)
class CameraTable:
    """One camera; the table's name is the camera's.

    Attributes:
        address: Its address, with `{env:NAME}` or `{file:PATH}` in the place of a secret.
        user: Name to log in with, where the address has none.
        password: The password, where the address has none.
        tls_fingerprint: The one certificate to accept, of an `https://` camera.
        tls_host: The name that its certificate is for.
        views: Views by name.
        masks: Regions that are blacked out before a picture is kept, by name.
    """

    address: str
    user: str | None = None
    password: Secret | None = None
    tls_fingerprint: str | None = None
    tls_host: str | None = None
    views: dict[str, ViewTable] | None = None
    masks: dict[str, MaskTable] | None = None


@dataclass(frozen=True)
class StatesTable:
    """States that are kept; the table alone turns them on.

    Attributes:
        enabled: Whether they are.
        agree: How many of the last answers make one, as `"4/5"`.
        dwell: Least seconds that one lasts.
        upper: Probability that a label has to reach to become one.
        lower: Probability below which it is one no longer.
        stale: Seconds without an answer after which one is stale.
    """

    enabled: bool | None = _key("states")
    agree: str | None = _key("state_agree")
    dwell: float | None = _key("state_dwell")
    upper: float | None = _key("state_upper")
    lower: float | None = _key("state_lower")
    stale: float | None = _key("state_stale")


@dataclass(frozen=True)
class MqttTable:
    """The broker; it is used with `output = "mqtt"`.

    Attributes:
        url: Its address: `mqtt://host[:port][/topic]`, or `mqtts://`.
        user: Name to log in with, where the address has none.
        password: The password, where the address has none.
        ca: File of the certificates to trust (PEM).
        cert: File of this client's certificate (PEM).
        key: File of its key.
        qos: Quality of service, 0 or 1.
        retain: Whether the broker keeps each camera's last answer.
        version: Version of the protocol, `"5"` or `"3.1.1"`.
        switches: Whether the broker may turn a task of a camera on and off.
        discovery: Home Assistant's discovery prefix, `"homeassistant"`; none describes nothing.
    """

    url: str
    user: str | None = None
    password: Secret | None = None
    ca: str | None = _key("mqtt_ca")
    cert: str | None = _key("mqtt_cert")
    key: str | None = _key("mqtt_key")
    qos: int | None = _key("mqtt_qos", str)
    retain: bool | None = _key("mqtt_retain")
    version: str | None = _key("mqtt_version")
    switches: bool | None = _key("mqtt_switches")
    discovery: str | None = _key("mqtt_discovery")


@dataclass(frozen=True)
class WebhookTable:
    """Where changes of states are posted to.

    Attributes:
        url: The address, `http://` or `https://`.
        headers: Headers that go with each, as `NAME: VALUE`.
        ca: File of the certificates to trust (PEM).
        queue: File of the events that wait to be taken.
    """

    url: str | None = _key("webhook")
    headers: tuple[str, ...] | None = _key("webhook_headers")
    ca: str | None = _key("webhook_ca")
    queue: str | None = _key("webhook_queue")


@dataclass(frozen=True)
class CollectTable:
    """Where frames that are worth a label are kept.

    Attributes:
        folder: The collection's folder.
        bytes: Room for them, as `"2GB"`.
        hourly: Number of pictures of a camera's view in an hour, at most.
        random: Share of all frames that is drawn at random.
        features: Whether the features of the pictures are kept.
        mask_faces: Model of faces, which are blacked out before a picture is kept or recorded.
        refit: Whether questions are fitted anew after labels.
        refit_memory: Memory that a fit may take, as `"1GB"`.
    """

    folder: str | None = _key("collect")
    bytes: str | None = _key("collect_bytes")
    hourly: int | None = _key("collect_hourly")
    random: float | None = _key("collect_random")
    features: bool | None = _key("collect_features")
    mask_faces: str | None = _key("mask_faces")
    refit: bool | None = _key("refit")
    refit_memory: str | None = _key("refit_memory")


@dataclass(frozen=True)
class PageTable:
    """The live page.

    Attributes:
        port: Port that it is served at.
        host: Address that it is served at.
        token: Its token.
        allowed_hosts: Names of it behind a proxy.
    """

    port: int | None = _key("port")
    host: str | None = _key("host")
    token: Secret | None = _key("token", lambda secret: secret.reference)  # noqa: RUF009 - a field
    allowed_hosts: tuple[str, ...] | None = _key("allowed_hosts")


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file of `run`; what is wrong in it is None.

    Attributes:
        cameras: Cameras by name.
        model: File of the graph or engine, or the address of a model on a server.
        readouts: Files of readouts, and folders of them.
        tasks: Names of the tasks to answer.
        every: N, where one in N frames of a camera is looked at.
        min_confidence: Lowest probability of an answer that is kept.
        unknown: Whether to say which answers are unknown.
        drift: Whether to say where frames have left what was trained on.
        frames: Number of frames to stop after.
        threads: CPU threads of ONNX Runtime.
        rebuild: Whether an engine is built anew where it does not run.
        output: Where answers go: `"jsonl"`, `"events"`, `"mqtt"` or `"none"`.
        record: File that frames and answers are appended to.
        states: States that are kept.
        mqtt: The broker.
        webhook: Where changes of states are posted to.
        collect: Where frames that are worth a label are kept.
        page: The live page.
        questions: Questions by name; without any, each task is asked about each frame.
    """

    cameras: dict[str, CameraTable] | None = None
    model: str | None = _key("model")
    readouts: tuple[str, ...] | None = _key("readouts")
    tasks: tuple[str, ...] | None = _key("tasks", ",".join)
    every: int | None = _key("every")
    min_confidence: float | None = _key("min_confidence")
    unknown: bool | None = _key("unknown")
    drift: bool | None = _key("drift")
    frames: int | None = _key("frames")
    threads: int | None = _key("threads")
    rebuild: bool | None = _key("rebuild")
    output: str | None = _key("output")
    record: str | None = _key("record")
    states: StatesTable | None = None
    mqtt: MqttTable | None = None
    webhook: WebhookTable | None = None
    collect: CollectTable | None = None
    page: PageTable | None = None
    questions: dict[str, QuestionTable] | None = None

    def parameters(self) -> dict[str, tuple[tuple[str, ...], Any]]:
        """Return, by an option's name, the key that gives it and the value as click takes it."""
        found = dict(_options((), self))
        for name in ("states", "mqtt", "webhook", "collect", "page"):
            found.update(_options((name,), getattr(self, name)))
        if self.states is not None:
            found.setdefault("states", (("states",), True))
        if self.mqtt is not None and self.mqtt.url:
            url = _with_login(self.mqtt.url, self.mqtt.user, self.mqtt.password)
            found["mqtt"] = ("mqtt", "url"), url
        known = (self.cameras or {}).items()
        cameras = [(name, each) for name, each in known if each is not None and each.address]
        uris = [f"{name}={_with_login(c.address, c.user, c.password)}" for name, c in cameras]
        if uris:
            found["uris"] = ("cameras",), uris
        for option in ("tls_fingerprint", "tls_host"):
            given = {name: getattr(camera, option) for name, camera in cameras}
            values = [f"{name}={value}" for name, value in given.items() if value is not None]
            if values:
                found[option] = ("cameras",), values
        return found


def option_keys() -> dict[str, str]:
    """Return every option of `run` that has a key, by its name, with the key as people write it."""
    tables = {
        "": ConfigFile,
        "states.": StatesTable,
        "mqtt.": MqttTable,
        "webhook.": WebhookTable,
        "collect.": CollectTable,
        "page.": PageTable,
    }
    found = {
        each.metadata[_PARAMETER]: f"{prefix}{each.name}"
        for prefix, table in tables.items()
        for each in fields(table)
        if _PARAMETER in each.metadata
    }
    cameras = {"uris": "address", "tls_fingerprint": "tls_fingerprint", "tls_host": "tls_host"}
    found |= {option: f"cameras.NAME.{key}" for option, key in cameras.items()}
    return found | {"mqtt": "mqtt.url"}


def _options(where: tuple[str, ...], table: Any) -> Iterator[tuple[str, Any]]:
    """Give the options that a table's own keys are."""
    for each in fields(table) if table is not None else ():
        value = getattr(table, each.name)
        if _PARAMETER in each.metadata and value is not None:
            written = each.metadata[_WRITE](value)
            yield each.metadata[_PARAMETER], ((*where, each.name), written)


def _with_login(address: str, user: str | None, password: Secret | None) -> str:
    """Put a name and the reference of a password into an address."""
    from snow_runtime.secret_references import quote_around

    scheme, separator, rest = address.partition("://")
    if not separator or (user is None and password is None):
        return address
    secret = "" if password is None else f":{password.reference}"
    return f"{scheme}://{quote_around(user or '')}{secret}@{rest}"
