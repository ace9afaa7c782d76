"""`snow-deploy config`: look at a configuration file of `run` without running it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snow_deploy.cli.options import FILE
from snow_deploy.cli.run_plan import plan_of
from snow_runtime.errors import SnowError

if TYPE_CHECKING:
    from snow_deploy.cli.run_plan import RunPlan


@click.group("config")
def command() -> None:
    """Look at configuration files of `run`."""


@command.command("check")
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Say what is wrong with FILE, a line for each fault.

    Nothing is opened. Secrets are read where they can be; one that cannot is no fault, since it may
    be the service's alone.
    """
    from snow_deploy.errors import ConfigError
    from snow_runtime.backends.remote.address import shown_place

    try:
        plan = _plan(file)
    except (SnowError, click.UsageError) as error:
        usage = error.format_message() if isinstance(error, click.UsageError) else str(error)
        for fault in error.faults if isinstance(error, ConfigError) else [usage]:
            click.echo(f"{file}: {fault}")
        sys.exit(1)
    names = ", ".join(name for name, _ in plan.cameras)
    click.echo(
        f"{file} is right: {shown_place(plan.model)}, cameras {names}, output {plan.options.output}"
    )
    if isinstance(plan.model, Path) and not plan.model.is_file():
        click.echo(f"note: there is no {plan.model} here yet", err=True)


def _plan(file: Path) -> RunPlan:
    """Plan what `run --config FILE` would do."""
    from snow_deploy.cli.run import command as run
    from snow_runtime.secret_references import resolve_secrets

    context = run.make_context("run", ["--config", str(file)], parent=click.get_current_context())
    with context.scope(cleanup=False):
        plan = plan_of(context, secrets=False)
        try:
            plan = plan_of(context)
            if isinstance(plan.model, str):
                resolve_secrets(plan.model, escape=True)
        except SnowError as error:
            click.echo(f"note: {error}", err=True)
        plan.check_addresses()
        return plan
