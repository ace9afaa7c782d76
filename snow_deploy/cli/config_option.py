"""`--config`: what a file says in the place of options, and reading it anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from snow_deploy.cli.named_cameras import named_cameras
from snow_deploy.cli.options import FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from snow_deploy.cli.config_masks import Masks
    from snow_deploy.cli.config_questions import AskedQuestions
    from snow_runtime.app.questions.view import CameraView

_QUESTIONS: Final = "snow_deploy.questions"
_MASKS: Final = "snow_deploy.masks"
_CAMERAS: Final = "snow_deploy.cameras"
_WORDS: Final = "snow_deploy.words"  # of the command line, in a context's meta


class ConfigurableCommand(click.Command):
    """A command that knows the words that it was called with, so that they can be read again."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words, and read them."""
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)


def _use(context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and not context.resilient_parsing:
        read = config_values(context, path)
        context.default_map, context.meta[_QUESTIONS], context.meta[_MASKS] = read
        context.meta[_CAMERAS] = tuple(read[0].get("uris", ()))
    return path


config_option = click.option(
    "--config",
    type=FILE,
    is_eager=True,
    callback=_use,
    help="A TOML file that holds these options; those given here count before it.",
)


def questions_of(context: click.Context) -> AskedQuestions | None:
    """Return the questions of the file that a command line names; None where it has none."""
    found: AskedQuestions | None = context.meta.get(_QUESTIONS)
    return found if found is not None and found.questions else None


def masks_of(context: click.Context) -> Masks:
    """Return the masks of the file that a command line names, by camera; none without a file."""
    found: Masks = context.meta.get(_MASKS, {})
    return found


def file_cameras_of(context: click.Context) -> list[str]:
    """Return the names of the cameras of the file that a command line names."""
    given: tuple[str, ...] = context.meta.get(_CAMERAS, ())
    return [name for name, _ in named_cameras(given)]


def views_of(context: click.Context) -> Mapping[str, tuple[CameraView, ...]]:
    """Return the views of the file that a command line names, by camera."""
    found: AskedQuestions | None = context.meta.get(_QUESTIONS)
    return {} if found is None else found.views


def config_values(
    context: click.Context, path: Path
) -> tuple[dict[str, Any], AskedQuestions, Masks]:
    """Read a configuration file.

    Returns:
        Its values by the names of the command's options, its questions, and its masks by camera.

    Raises:
        ConfigError: It cannot be read, or a key is unknown or wrong.
    """
    from snow_deploy.cli.config_lines import line_of
    from snow_deploy.cli.config_masks import read_masks
    from snow_deploy.cli.config_questions import read_questions
    from snow_deploy.cli.config_read import Fault, config_error, read_config

    reading = read_config(path)
    parameters = {str(each.name): each for each in context.command.params}
    values, faults = {}, list(reading.faults)
    for name, (where, value) in reading.config.parameters().items():
        try:
            parameters[name].type_cast_value(context, value)
        except click.BadParameter as error:
            faults.append(Fault(where, error.message, line_of(reading.lines, where)))
        values[name] = value
    questions, wrong = read_questions(reading)
    masks, more = read_masks(reading)
    if faults or wrong or more:
        raise config_error(path, faults + wrong + more)
    return values, questions, masks


def read_again(context: click.Context) -> click.Context:
    """Read the words of a command line again, and with them the file as it is now.

    Args:
        context: The command's.

    Returns:
        A context with the options as they are now.

    Raises:
        ConfigError: The file cannot be read, or a key is unknown or wrong.
        click.UsageError: What the file leaves to the command line is missing there.
    """
    words = list(context.meta[_WORDS])
    return context.command.make_context(context.info_name, words, parent=context.parent)
