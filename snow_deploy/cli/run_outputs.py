"""What `snow-deploy run` writes answers and recordings to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from snow_deploy.cli.options import is_given, is_typed
from snow_deploy.cli.run_site import check_discovery
from snow_deploy.cli.webhook_options import check_webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from snow_deploy.cli.run_options import RunOptions
    from snow_runtime.app.outputs.jsonl import Output
    from snow_runtime.app.outputs.recording import Recorder
    from snow_runtime.collection.masks import Masking

_OF_MQTT: Final = (
    "mqtt_ca",
    "mqtt_cert",
    "mqtt_key",
    "mqtt_qos",
    "mqtt_retain",
    "mqtt_version",
    "mqtt_switches",
    "mqtt_discovery",
)


def check_outputs(options: RunOptions) -> None:
    """Check that options of outputs fit together.

    Raises:
        click.UsageError: They contradict each other.
    """
    if (options.output == "mqtt") != (options.mqtt is not None):
        msg = "--output mqtt and --mqtt URL belong together."
        raise click.UsageError(msg)
    _refuse_unread_mqtt(options.output)
    check_discovery(options)
    check_webhook(options)


def open_output(options: RunOptions, count: Callable[[str], None]) -> Output:
    """Open what `--output` names.

    Args:
        options: The command's.
        count: Callback that gets the name of what is to be counted.
    """
    from snow_runtime.app.outputs.jsonl import JsonLines, NullOutput
    from snow_runtime.app.outputs.mqtt import Mqtt
    from snow_runtime.app.outputs.mqtt_broker import MqttOptions

    if options.mqtt is not None:
        how = MqttOptions(
            authorities=options.mqtt_ca,
            certificate=options.mqtt_cert,
            key=options.mqtt_key,
            qos=1 if options.mqtt_qos == "1" else 0,
            retain=options.mqtt_retain,
            version=options.mqtt_version,
        )
        return Mqtt(options.mqtt, count, how)
    if options.output == "none":
        return NullOutput()
    return JsonLines(count, answers=options.output == "jsonl")


def _refuse_unread_mqtt(output: str) -> None:
    elsewhere = is_typed("output")  # whatever a file says of its broker
    for name in _OF_MQTT:
        if output != "mqtt" and (is_typed(name) or (is_given(name) and not elsewhere)):
            msg = f"--{name.replace('_', '-')} is for --output mqtt; leave it out."
            raise click.UsageError(msg)


def open_recorders(
    path: Path | None,
    named: Sequence[tuple[str, str]],
    count: Callable[[str], None],
    stack: ExitStack,
    masking: Callable[[], Masking],
) -> dict[str, Recorder]:
    """Open a recording of each camera, by its name; none without a path.

    Args:
        path: Path, as `--record` gives it.
        named: Names and addresses of the cameras.
        count: Callback that gets the name of what is to be counted.
        stack: Closes the recordings.
        masking: Function that makes what is blacked out, for one recording.

    Raises:
        click.UsageError: A camera reads the file that would be written.
    """
    from snow_runtime.app.outputs.recording import Recorder, recording_path

    if path is None:
        return {}
    several = len(named) > 1
    found = {}
    for name, uri in named:
        target = recording_path(path, name if several else None)
        if target.exists() and _is_source(uri, target):
            msg = f"--record would write to {target}, which the camera {name} reads; name another."
            raise click.UsageError(msg)
        recorder = Recorder(target, count, camera=name, masking=masking())
        stack.callback(recorder.close)
        found[name] = recorder
    return found


def _is_source(uri: str, path: Path) -> bool:
    """Tell whether a camera reads a file."""
    from snow_runtime.cameras.uri import parse

    address = parse(uri)
    read = Path(address.target)
    return address.scheme in {"path", "file"} and read.is_file() and read.samefile(path)
