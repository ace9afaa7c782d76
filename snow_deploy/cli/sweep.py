"""`--sweep NAME=VALUE,VALUE`: one task a combination of values, each with a name of its own."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import is_given

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snow_deploy.cli.train_form import TrainForm

SWEEPABLE = (
    *("scheme", "subscription", "k", "width", "sigma2"),
    *("pooling-norm", "pooling-weights", "pooling-order", "blocks", "from-stage"),
    *("classifier-reads", "lr", "recipe"),
)
"""Options that leave the batches as they are, so that their values can train side by side."""


def combinations(sweeps: Sequence[str], form: TrainForm) -> Iterator[tuple[str, TrainForm]]:
    """Yield each combination: what to append to a task's name, and the command's values.

    Without sweeps that is one, with nothing to append.

    Args:
        sweeps: What was given, such as `k=4,8`.
        form: The command's values.

    Raises:
        click.UsageError: An option cannot be swept, is given twice, or a value cannot be read.
    """
    axes = [_axis(text) for text in sweeps]
    names = [name for name, _ in axes]
    for name in names:
        if names.count(name) > 1 or is_given(_key(name)):
            msg = f"--{name} is given twice; put all its values into one --sweep {name}=…"
            raise click.UsageError(msg)
    for picked in product(*(values for _, values in axes)):
        pairs = list(zip(names, picked, strict=True))
        suffix = "".join(f"-{_token(name, text)}" for name, (text, _) in pairs)
        yield suffix, replace(form, **{_key(name): value for name, (_, value) in pairs})


def swept(sweeps: Sequence[str]) -> set[str]:
    """Return the swept options, as the command's parameters are called."""
    return {_key(_name(text)) for text in sweeps}


def _name(text: str) -> str:
    """Return the option that a sweep names, with or without its dashes."""
    return text.partition("=")[0].strip().removeprefix("--")


def _axis(text: str) -> tuple[str, list[tuple[str, Any]]]:
    """Read one sweep: the option, and its values as text and as the option reads them."""
    name = _name(text)
    values = [value.strip() for value in text.partition("=")[2].split(",")]
    if name not in SWEEPABLE:
        msg = (
            f"--{name} cannot be swept: the tasks of a sweep learn from the same batches over the "
            f"same epochs. Sweep some of {', '.join(SWEEPABLE)}; give --{name} once, for all of "
            "them."
        )
        raise click.UsageError(msg)
    context = click.get_current_context()
    option = next(each for each in context.command.params if each.name == _key(name))
    read = [option.type.convert(value, option, context) for value in values if value]
    if len(set(read)) < len(values):
        msg = f"--sweep {text}: expected {name}=VALUE,VALUE with values that differ"
        raise click.UsageError(msg)
    return name, list(zip(values, read, strict=True))


def _token(name: str, text: str) -> str:
    """Write a value for a task's name: `k4`, `sigma2_1e-3`, `lr0p5`, `scheme_fo`."""
    value = text.lower().replace(".", "p").replace("+", "")
    joined = name[-1].isalpha() and value[0].isdigit()
    return f"{name}{value}" if joined else f"{name}_{value}"


def _key(name: str) -> str:
    return name.replace("-", "_")
