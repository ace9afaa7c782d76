"""A click group that imports a command when it is called, and reports errors in one place."""

from __future__ import annotations

import difflib
import errno
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

from snow_deploy.cli.unread_output import abandon_output, unread_output_is_lost
from snow_runtime.errors import MissingDependencyError, SnowError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OWN_PACKAGES = frozenset({"snow_deploy", "snow_export", "snow_calibration", "snow_runtime"})
_NO_SUCH_PLACE = frozenset(
    {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
)
_EXIT_FAILED = 1
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass(frozen=True)
class CommandEntry:
    """One line of the command table.

    Attributes:
        summary: The line that `snow-deploy --help` prints for it.
        extra: The extras that the command needs, as in `train,export`.
        makes_files: Whether its result is a file: then it goes on where nobody reads what it
            prints.
        shared: Whether several processes, started by torchrun, may do its work together.
    """

    summary: str
    extra: str
    makes_files: bool = False
    shared: bool = False


class LazyGroup(click.Group):
    """A group that knows its commands by a table, and turns a SnowError into one line.

    Args:
        entries: The commands by name.
        **attributes: What :class:`click.Group` takes.
    """

    def __init__(self, *, entries: Mapping[str, CommandEntry], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.entries = dict(entries)

    def main(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Any:
        """Run the command line; what the system refuses, such as a full disk, becomes one line.

        Raises:
            OSError: With `--debug`, so that Python prints the traceback.
        """
        given = sys.argv[1:] if args is None else list(args)
        try:
            return super().main(args, *others, **options)
        except OSError as error:
            if "--debug" in given[:1]:
                raise
            abandon_output(sys.stdout)
            _fail(f"{error}. {_advice_on(error)}")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the command names, without importing any."""
        return sorted({*self.entries, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or return None for a name that the table doesn't have."""
        if cmd_name not in self.entries:
            return super().get_command(ctx, cmd_name)
        module = module_of(cmd_name)
        command = import_module(module).command
        if not isinstance(command, click.Command):
            msg = f"{module}.command is a {type(command).__name__}, not a click command"
            raise TypeError(msg)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begins with; a mistyped name suggests the nearest."""
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Commands: {', '.join(known)}."
            msg = f"No such command {name!r}. {hint}"
            raise click.UsageError(msg, ctx)
        if name in self.entries and self.entries[name].makes_files and not ctx.resilient_parsing:
            ctx.with_resource(unread_output_is_lost())
        if name in self.entries and not self.entries[name].shared:
            _refuse_torchrun(name, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table's summaries, so that `--help` imports no command."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. The one place where an error becomes a line and an exit code.

        Raises:
            SnowError: With `--debug`, so that Python prints the traceback.
        """
        try:
            return super().invoke(ctx)
        except SnowError as error:
            if ctx.params.get("debug"):
                raise
            _fail(str(error))
        except ModuleNotFoundError as error:
            missing = _missing_dependency(error, self.entries.get(ctx.invoked_subcommand or ""))
            if missing is None:
                raise
            if ctx.params.get("debug"):
                raise missing from error
            _fail(str(missing))
        except KeyboardInterrupt as interrupt:
            click.echo(str(interrupt) or "interrupted", err=True)
            sys.exit(_EXIT_INTERRUPTED)


def _advice_on(error: OSError) -> str:
    """Say what to do about what the system refused, where no command had better advice."""
    if isinstance(error, PermissionError):
        return "Give this user access to it, or name another place."
    if error.errno in _NO_SUCH_PLACE:
        return "Correct the path."
    return "Look whether the disk is full and the path is right."


def module_of(name: str) -> str:
    """Return the module whose `command` is the click command of a name."""
    return f"snow_deploy.cli.{name.replace('-', '_')}"


def _refuse_torchrun(name: str, ctx: click.Context) -> None:
    """Refuse to do in several processes what is meant for one: they would write the same files.

    Raises:
        click.UsageError: Torchrun has started more than one.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and count != "1":
        msg = (
            f"{name} works in one process, and torchrun has started {count}. Start it without "
            "torchrun; only train shares its work among processes."
        )
        raise click.UsageError(msg, ctx)


def _missing_dependency(
    error: ModuleNotFoundError, entry: CommandEntry | None
) -> MissingDependencyError | None:
    """Say which extra brings the module that is missing; None if the fault is our own."""
    package = (error.name or "").partition(".")[0]
    if entry is None or not package or package in _OWN_PACKAGES:
        return None
    return MissingDependencyError(
        f"this command needs {package}, which is not installed; run: {pip_install(entry.extra)}"
    )


def _fail(message: str) -> NoReturn:
    """Print one `error: …` line to stderr and leave."""
    line = " ".join(part.strip() for part in message.splitlines())
    click.echo(f"error: {line}", err=True)
    sys.exit(_EXIT_FAILED)
