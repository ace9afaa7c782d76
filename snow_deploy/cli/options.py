"""Options, and kinds of them, that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
AT_LEAST_ONE = click.IntRange(min=1)
THREADS = click.IntRange(1, 1024)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
store_option = click.option(
    "--store", "root", type=FOLDER, default="store", help="Folder of the source and its tasks."
)


class ModelPlace(click.Path):
    """A graph's or an engine's file, or the address of a model on a server, which stays a text."""

    name = "model"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Return the path, or the address."""
        from snow_runtime.backends.remote.address import is_remote

        if isinstance(value, str) and is_remote(value):
            return value
        return super().convert(value, param, ctx)


readout_option = click.option(
    "--readout",
    "readouts",
    metavar="FILE",
    type=PATH,
    multiple=True,
    help="Answer a task more, which `fit` made for this graph (.readout), or those of a folder; "
    "once for each.",
)


def all_of(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that adds several options to a command, in this order."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def readout_files(given: Iterable[Path]) -> list[Path]:
    """Return the readouts that are named, and those in the folders that are, by name.

    A folder without any is said on standard error: it may get some later, or be another one.
    """
    from snow_runtime.readout.file import SUFFIX

    found: list[Path] = []
    for path in given:
        files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not files:
            click.echo(f"note: the folder {path} has no readouts ({SUFFIX}) in it", err=True)
        found += files
    return found


def warn_of_secrets(
    addresses: Iterable[str], *, typed: bool = False, in_file: bool = False
) -> None:
    """Warn of a password or token that stands in an address on the command line.

    Args:
        addresses: Addresses, as they were typed.
        typed: Whether a secret stands in another option.
        in_file: Whether they stand in a configuration file instead.
    """
    from snow_runtime.secret_references import holds_password

    place, who = "on the command line", "where every user of this machine can read it"
    if in_file:
        place, who = "in the configuration file", "where whoever reads the file has it"
    if typed or any(map(holds_password, addresses)):
        click.echo(
            f"warning: a password or token stands {place}, {who}; write {{env:NAME}} or "
            "{file:PATH} in its place",
            err=True,
        )


def is_given(parameter: str) -> bool:
    """Tell whether an option of the command that runs is given, by the user or a file of theirs."""
    return is_typed(parameter) or _source(parameter) is ParameterSource.DEFAULT_MAP


def is_typed(parameter: str) -> bool:
    """Tell whether an option of the command that runs stands on the command line."""
    return _source(parameter) is ParameterSource.COMMANDLINE


def refuse_without(
    option: str, parameters: Iterable[str], given: Callable[[str], bool] = is_given
) -> None:
    """Refuse options that say how something is done which another one would have to ask for.

    Args:
        option: The one that is not given, as it is typed.
        parameters: Names of those that are for it alone.
        given: Function that tells of a name whether that one is given.

    Raises:
        click.UsageError: One is.
    """
    typed = {each.name: each.opts[0] for each in click.get_current_context().command.params}
    for name in filter(given, parameters):
        msg = f"{typed[name]} is for {option}; give that too, or leave it out."
        raise click.UsageError(msg)


def _source(parameter: str) -> ParameterSource | None:
    return click.get_current_context().get_parameter_source(parameter)


def refuse_threads_of_engine(model: Path | str, threads: int | None) -> None:
    """Refuse a number of CPU threads for what computes on the GPU, or on a server.

    Raises:
        click.UsageError: So it is.
    """
    from snow_runtime.model import is_engine

    if threads is not None and isinstance(model, str):
        msg = "--threads is for graphs, and the model is on a server: it computes there."
        raise click.UsageError(msg)
    if threads is not None and is_engine(Path(model)):
        msg = f"--threads is for graphs, and {model} is an engine: it computes on the GPU."
        raise click.UsageError(msg)


class FiniteRange(click.FloatRange):
    """A number between bounds, which is one: NaN is neither below nor above any, nor infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it; an error of usage says what is wrong."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return found
