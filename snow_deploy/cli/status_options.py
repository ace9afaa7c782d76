"""Options that name where boxes tell how they do: a folder, or a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import FILE, FOLDER, all_of, warn_of_secrets

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.update.status import BoxStatus

status_options = all_of(
    click.option(
        "--status",
        "folder_of_statuses",
        type=FOLDER,
        help="Folder of the boxes' status.json files.",
    ),
    click.option(
        "--mqtt", metavar="URL", help="The broker that boxes tell, and its topic, as for `agent`."
    ),
    click.option("--mqtt-ca", type=FILE, help="Certificates (PEM) to trust of an mqtts:// broker."),
    click.option("--mqtt-cert", type=FILE, help="This client's certificate (PEM)."),
    click.option("--mqtt-key", type=FILE, help="The certificate's key."),
)


def names_statuses(given: dict[str, Any]) -> bool:
    """Tell whether a place is named at all."""
    return given["folder_of_statuses"] is not None or given["mqtt"] is not None


def boxes_of(path: Path | None) -> dict[str, tuple[str, ...]]:
    """Read the ids of all boxes, a line each, with their tags behind them.

    Returns:
        Tags by id; nothing where no file is named.

    Raises:
        InputError: It cannot be read.
    """
    from snow_runtime.errors import InputError

    try:
        lines = [] if path is None else path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"The file of box ids {path} cannot be read: {error}. Give a text file of one a line."
        raise InputError(msg) from error
    return {box: tuple(tags) for box, *tags in map(str.split, filter(str.strip, lines))}


def statuses_of(given: dict[str, Any]) -> list[BoxStatus]:
    """Read the newest status of each box.

    Args:
        given: Values of the options, by their names.

    Raises:
        click.UsageError: No place is named, or two are.
        SnowError: It cannot be read.
    """
    from snow_deploy.fleet.statuses import ask_broker, read_statuses
    from snow_runtime.app.outputs.mqtt_broker import MqttOptions
    from snow_runtime.secret_references import resolve_secrets

    folder, url = given["folder_of_statuses"], given["mqtt"]
    if (folder is None) == (url is None):
        msg = "Give one of --status FOLDER and --mqtt URL: where the boxes tell how they do."
        raise click.UsageError(msg)
    if folder is not None:
        return read_statuses(folder)
    warn_of_secrets([url])
    options = MqttOptions(*(given[name] for name in ("mqtt_ca", "mqtt_cert", "mqtt_key")))
    return ask_broker(resolve_secrets(url, escape=True), options)
