"""What `snow-deploy run` is to do, checked as far as that goes without opening anything."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.cli.named_cameras import named_cameras, options_by_camera, refuse_nameless
from snow_deploy.cli.run_options import RunOptions
from snow_deploy.cli.run_outputs import check_outputs
from snow_deploy.cli.state_options import state_rules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import click

    from snow_runtime.app.states.rules import StateRules
    from snow_runtime.cameras import CameraOptions

_WHILE_IT_RUNS: Final = frozenset(
    {
        "readouts",
        "tasks",
        "every",
        "min_confidence",
        "state_agree",
        "state_dwell",
        "state_upper",
        "state_lower",
        "state_stale",
        "frames",
        "threads",
        "rebuild",
    }
)
"""Options that may change while cameras and outputs stay as they are."""


_OF_THE_COMMAND: Final = frozenset({"model", "config"})


@dataclass(frozen=True)
class RunPlan:
    """A model, and what is asked of it.

    Attributes:
        model: The graph or engine.
        options: The options, with their secrets.
        cameras: Names and addresses of the cameras.
        how: Options of the cameras, by name.
        loading: Options of `snow_runtime.load`.
        rules: When states change; None where none are kept.
    """

    model: Path
    options: RunOptions
    cameras: tuple[tuple[str, str], ...]
    how: Mapping[str, CameraOptions]
    loading: Mapping[str, Any]
    rules: StateRules | None

    def changes_beyond(self, other: RunPlan) -> list[str]:
        """Return the options that differ from another plan's and need cameras or outputs anew."""
        return [
            each.name
            for each in fields(RunOptions)
            if each.name not in _WHILE_IT_RUNS
            and getattr(self.options, each.name) != getattr(other.options, each.name)
        ]


def plan_of(context: click.Context, *, secrets: bool = True) -> RunPlan:
    """Check a command line of `run`, with the file that it names.

    Args:
        context: The command's, the present one.
        secrets: Whether the secrets that options name are read.

    Raises:
        click.UsageError: Options contradict each other.
        SnowError: A secret cannot be read, or a number is out of its range.
    """
    given = {name: each for name, each in context.params.items() if name not in _OF_THE_COMMAND}
    options = RunOptions(**given)
    if secrets:
        options = options.with_secrets()
    named = named_cameras(options.uris)
    if options.record is not None:
        refuse_nameless(options.uris)
    check_outputs(options)
    names = [name for name, _ in named]
    model: Path = context.params["model"]
    return RunPlan(
        model,
        options,
        tuple(named),
        options_by_camera(names, options.tls_fingerprint, options.tls_host),
        options.for_load(model),
        state_rules(options),
    )
