"""A command of snow-deploy taken apart into its options, changed, and put together again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from snow_deploy.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NUMBERS = (click.Choice, click.types.IntParamType, click.types.FloatParamType)


@dataclass
class CommandLine:
    """What stands behind `snow-deploy`.

    Attributes:
        path: The command's name, and that of its own command, as in `paper table3`.
        command: What click makes of them.
        options: Each option with its value, None for a switch, in order.
        arguments: What is not an option.
    """

    path: tuple[str, ...]
    command: click.Command
    options: list[tuple[str, str | None]] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path[0]

    def values(self, *names: str) -> list[str]:
        """Return all values of an option, under each of its names."""
        return [value for name, value in self.options if name in names and value is not None]

    def has(self, name: str) -> bool:
        return any(given == name for given, _ in self.options)

    def drop(self, *names: str) -> None:
        self.options = [item for item in self.options if item[0] not in names]

    def put(self, name: str, value: str | None = None) -> None:
        """Give an option once, whatever was given before."""
        self.drop(name)
        self.options.append((name, value))

    def change(self, name: str, change: Callable[[str], str]) -> None:
        """Change every value of an option."""
        self.options = [
            (given, change(value) if given == name and value is not None else value)
            for given, value in self.options
        ]

    def words(self) -> list[str]:
        """Return it as it is typed."""
        given = [word for option in self.options for word in option if word is not None]
        return [*self.path, *given, *(["--"] if self.arguments else []), *self.arguments]


def read(words: Sequence[str]) -> CommandLine:
    """Take a command apart, by click's own options, and check their values.

    Nothing is opened and nothing runs: files need not be there.

    Raises:
        click.UsageError: There is no such command or option, or a value is not one of it.
    """
    context = click.Context(main, info_name="snow-deploy")
    command: click.Command = main
    path: list[str] = []
    rest = list(words)
    while isinstance(command, click.Group):
        if not rest:
            msg = f"`{' '.join(['snow-deploy', *path])}` names no command"
            raise click.UsageError(msg)
        found = command.get_command(context, rest[0])
        if found is None:
            msg = f"there is no command {rest[0]!r}"
            raise click.UsageError(msg)
        path.append(rest.pop(0))
        command, context = found, click.Context(found, parent=context, info_name=path[-1])
    line = CommandLine(tuple(path), command)
    _take_apart(line, rest)
    command.make_parser(context).parse_args(list(rest))
    _check_values(line, context)
    return line


def _take_apart(line: CommandLine, rest: list[str]) -> None:
    options = {
        name: option
        for option in line.command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    while rest_left := rest:
        word, rest = rest_left[0], rest_left[1:]
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not word.startswith("-"):
            line.arguments.append(word)
        elif equals:
            line.options.append((name, value))
        elif name in options and not (options[name].is_flag or options[name].count) and rest:
            line.options.append((name, rest[0]))
            rest = rest[1:]
        else:
            line.options.append((name, None))


def _check_values(line: CommandLine, context: click.Context) -> None:
    """Convert what needs no file.

    Raises:
        click.UsageError: A value is not one of its option.
    """
    for option in line.command.params:
        if isinstance(option.type, _NUMBERS):
            for value in line.values(*option.opts, *option.secondary_opts):
                option.type.convert(value, option, context)  # type: ignore[arg-type]
