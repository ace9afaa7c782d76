"""The options of `snow-deploy run`, once they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import click

from snow_deploy.cli.named_cameras import name_before
from snow_deploy.cli.options import is_typed, refuse_threads_of_engine, warn_of_secrets
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
    unknown: bool
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
    collect: Path | None
    collect_bytes: int | None
    collect_hourly: int
    collect_random: float
    collect_features: bool
    mask_faces: Path | None
    refit: bool
    refit_memory: int
    drift: bool
    record: Path | None
    port: int | None
    host: str
    token: str | None
    allowed_hosts: tuple[str, ...]
    frames: int | None
    threads: int | None
    rebuild: bool

    def with_secrets(self, model: Path | str) -> RunOptions:
        """Read the secrets that addresses name, and warn of those that stand there themselves.

        Args:
            model: A file; or a server's address, whose secrets are read when it is opened.
        """
        from snow_runtime.secret_references import holds_secret, resolve_secrets

        typed = is_typed("token") and not (self.token or "").startswith("{")
        given = {
            "uris": self.uris,
            "mqtt": (self.mqtt or "",),
            "webhook": (self.webhook or "",),
        }
        if isinstance(model, str):
            given["model"] = (model,)
        on_line = [each for name, texts in given.items() if is_typed(name) for each in texts]
        in_file = [each for name, texts in given.items() if not is_typed(name) for each in texts]
        headers = any(map(holds_secret, self.webhook_headers))
        typed_header = is_typed("webhook_headers")
        warn_of_secrets(on_line, typed=typed or (headers and typed_header))
        warn_of_secrets(in_file, typed=headers and not typed_header, in_file=True)
        return replace(
            self,
            webhook=self.webhook and resolve_secrets(self.webhook, escape=True),
            webhook_headers=tuple(
                resolve_secrets(header, escape=False) for header in self.webhook_headers
            ),
            mqtt=self.mqtt and resolve_secrets(self.mqtt, escape=True),
            token=self.token and resolve_secrets(self.token, escape=False),
            uris=tuple(
                name + resolve_secrets(uri.removeprefix(name), escape=True)
                for uri in self.uris
                for name in [name_before(uri)]
            ),
        )

    def with_stand_ins(self) -> RunOptions:
        """Put signs in the places of secrets, so that what is around them can be looked at.

        An address that is all secret is not there then.
        """
        from snow_runtime.secret_references import stand_in

        return replace(
            self,
            webhook=self.webhook and stand_in(self.webhook),
            webhook_headers=tuple(filter(None, map(stand_in, self.webhook_headers))),
            mqtt=self.mqtt and stand_in(self.mqtt),
        )

    def for_load(self, model: Path | str) -> dict[str, Any]:
        """Return the options of `snow_runtime.load` for a file, or a server's address.

        Raises:
            click.UsageError: An option of graphs is given for an engine, one of engines for a
                graph, or either for a model on a server.
        """
        from snow_runtime.model import is_engine

        refuse_threads_of_engine(model, self.threads)
        if self.rebuild and (isinstance(model, str) or not is_engine(model)):
            what = "the model is on a server" if isinstance(model, str) else f"{model} is a graph"
            msg = f"--rebuild is for engines, and {what}."
            raise click.UsageError(msg)
        return {
            "threads": self.threads,
            "rebuild": "auto" if self.rebuild else "never",
            "unlikeness": self.unknown,
        }

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
