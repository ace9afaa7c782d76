"""The options of `snow-deploy run`, once they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import click

from snow_deploy.cli.options import is_typed, refuse_threads_of_engine
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.swap import SwappableModel


@dataclass(frozen=True)
class RunOptions:
    """What `run` was asked for; the attributes are its options, in their order.

    Attributes:
        uris: Addresses of the cameras, each with its name before it or without.
        readouts: Files of readouts, and folders of them.
        webhook_headers: Headers that go with each event.
        allowed_hosts: Names of the page behind a proxy.
    """

    uris: tuple[str, ...]
    tls_fingerprint: tuple[str, ...]
    tls_host: tuple[str, ...]
    readouts: tuple[Path, ...]
    tasks: str | None
    every: int
    min_confidence: float
    states: bool
    state_agree: tuple[int, int]
    state_dwell: float
    state_upper: float | None
    state_lower: float | None
    state_stale: float
    output: Literal["jsonl", "events", "mqtt", "none"]
    mqtt: str | None
    mqtt_ca: Path | None
    mqtt_cert: Path | None
    mqtt_key: Path | None
    mqtt_qos: Literal["0", "1"]
    mqtt_retain: bool
    mqtt_version: Literal["5", "3.1.1"]
    mqtt_switches: bool
    mqtt_discovery: str | None
    webhook: str | None
    webhook_headers: tuple[str, ...]
    webhook_ca: Path | None
    webhook_queue: Path
    record: Path | None
    port: int | None
    host: str
    token: str | None
    allowed_hosts: tuple[str, ...]
    frames: int | None
    threads: int | None
    rebuild: bool

    def with_secrets(self) -> RunOptions:
        """Read the secrets that addresses name, and warn of those that stand there themselves."""
        from snow_runtime.secret_references import holds_password, holds_secret, resolve_secrets

        typed = is_typed("token") and not (self.token or "").startswith("{")
        addresses = {"mqtt": [self.mqtt or ""], "uris": self.uris, "webhook": [self.webhook or ""]}
        plain = [name for name, given in addresses.items() if any(map(holds_password, given))]
        plain += ["webhook_headers"] * any(map(holds_secret, self.webhook_headers))
        if typed or any(map(is_typed, plain)):
            click.echo(
                "warning: a password or token stands on the command line, where every user of this "
                "machine can read it; write {env:NAME} or {file:PATH} in its place",
                err=True,
            )
        elif plain:
            click.echo(
                "warning: a password stands in the configuration file, where whoever reads the "
                "file has it; write {env:NAME} or {file:PATH} in its place",
                err=True,
            )
        return replace(
            self,
            webhook=self.webhook and resolve_secrets(self.webhook, escape=True),
            webhook_headers=tuple(
                resolve_secrets(header, escape=False) for header in self.webhook_headers
            ),
            mqtt=self.mqtt and resolve_secrets(self.mqtt, escape=True),
            token=self.token and resolve_secrets(self.token, escape=False),
            uris=tuple(resolve_secrets(uri, escape=True) for uri in self.uris),
        )

    def for_load(self, model: Path) -> dict[str, Any]:
        """Return the options of `snow_runtime.load` for a file.

        Raises:
            click.UsageError: An option of graphs is given for an engine, or one of engines for a
                graph.
        """
        from snow_runtime.model import is_engine

        refuse_threads_of_engine(model, self.threads)
        if self.rebuild and not is_engine(model):
            msg = f"--rebuild is for engines, and {model} is a graph."
            raise click.UsageError(msg)
        return {"threads": self.threads, "rebuild": "auto" if self.rebuild else "never"}

    def wanted_tasks(self, model: SwappableModel) -> tuple[str, ...] | None:
        """Return the tasks to answer; None for all.

        Raises:
            InputError: The model has no such task.
        """
        wanted = self.task_names
        unknown = [name for name in wanted or () if name not in model.tasks]
        if unknown or wanted == ():
            msg = (
                f"The model has no task {', '.join(unknown) or repr(self.tasks)}, expected some of "
                f"{', '.join(model.tasks)}. Give those with --tasks."
            )
            raise InputError(msg)
        return wanted

    @property
    def task_names(self) -> tuple[str, ...] | None:
        """Names of the tasks to answer, known or not; None for all."""
        if self.tasks is None:
            return None
        return tuple(name.strip() for name in self.tasks.split(",") if name.strip())
