"""Every option of a command has a place in what the command makes of its options."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from snow_deploy.cli import bench, build_engine, paper, run, train
from snow_deploy.cli.follow_options import FOLLOW_PARAMETERS
from snow_deploy.cli.paper_study import PaperOptions
from snow_deploy.cli.run_options import RunOptions
from snow_deploy.cli.train_form import TrainForm
from snow_runtime.bench.options import BenchOptions
from snow_runtime.engine.options import BuildOptions

if TYPE_CHECKING:
    import click

FORMS: list[tuple[click.Command, type[Any]]] = [
    (run.command, RunOptions),
    (train.command, TrainForm),
    (bench.command, BenchOptions),
    (build_engine.command, BuildOptions),
    *((command, PaperOptions) for command in paper.command.commands.values()),
]


@pytest.mark.parametrize(("command", "form"), FORMS)
def test_options_that_a_command_does_not_name_are_fields(
    command: click.Command, form: type[Any]
) -> None:
    assert command.callback is not None
    named = inspect.signature(command.callback).parameters
    others = {str(each.name) for each in command.params} - set(named)

    takes_others = any(each.kind is each.VAR_KEYWORD for each in named.values())
    assert bool(others) == takes_others
    elsewhere = {"fp16", "int8", "fp32", *FOLLOW_PARAMETERS}
    assert others - elsewhere <= {field.name for field in fields(form)}
