"""Options of `snow-deploy paper`'s commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.delta_options import form_options
from snow_deploy.cli.options import AT_LEAST_ONE, FILE, FOLDER, all_of
from snow_deploy.cli.source_options import source_options

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMES = ("fo", "fe", "ft", "mp", "pn", "lf", "snow")
"""As in `snow_deploy.paper.study`, which this module must not import: it brings torch."""
COMPARED = ("fo", "fe", "ft", "mp", "pn", "snow")
"""Likewise."""


class Several(click.ParamType[Any]):
    """Values of one type, with commas between them."""

    def __init__(
        self, kind: type[int | float | str], least: float | None = None, *, repeats: bool = False
    ) -> None:
        """Take the type of each, the least that a number may be, and whether one may repeat."""
        self.kind, self.least, self.repeats = kind, least, repeats
        self.name = f"{kind.__name__}s"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Read a text; refuse what is no such value, is too small, or is there twice."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(self.kind(part.strip()) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list such as 1,2,3", param, ctx)
        if self.least is not None and any(each < self.least for each in found):  # type: ignore[operator]
            self.fail(f"{value!r} has a value below {self.least:g}", param, ctx)
        if len(set(found)) < len(found) and not self.repeats:
            self.fail(f"{value!r} has a value twice", param, ctx)
        return found


class Schemes(Several):
    """Names of schemes, with commas between them."""

    def __init__(self) -> None:
        """Take names."""
        super().__init__(str)
        self.name = "schemes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Read a text; refuse what is no scheme."""
        found = super().convert(value, param, ctx)
        for name in found:
            if name not in SCHEMES:
                self.fail(
                    f"{name!r} is no scheme; expected some of {', '.join(SCHEMES)}", param, ctx
                )
        return found


class SchemeBatch(click.ParamType[Any]):
    """`SCHEME=N`."""

    name = "scheme=n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Read a text."""
        if isinstance(value, tuple):
            return value
        scheme, _, number = str(value).partition("=")
        if scheme not in SCHEMES or not number.isdecimal() or int(number) < 2:
            self.fail(f"{value!r} is not such as ft=128", param, ctx)
        return scheme, int(number)


output_option = click.option(
    "-o",
    "--output",
    type=FOLDER,
    default="paper-output",
    help="Folder of the table, its plot, and what is kept to go on from.",
)


def schemes_option(usual: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return `--schemes` with these by default."""
    return click.option(
        "--schemes", type=Schemes(), default=",".join(usual), help="What is compared."
    )


def sigma2_option(usual: str) -> Callable[[Any], Any]:
    """Return `--sigma2` with these by default."""
    return click.option(
        "--sigma2",
        "sigma2s",
        type=Several(float, 0),
        default=usual,
        help="Variances of the channel pooling's noise.",
    )


ks_option = click.option(
    "--k", "ks", type=Several(int, 1), default="4,8,16", help="Subscribe to N/k of N channels."
)
widths_option = click.option(
    "--width",
    "widths",
    type=Several(int, 1),
    default="4,8,16",
    help="Divide the delta's widths by these.",
)
speed_switch = click.option("--speed/--no-speed", default=True, help="Measure speeds, or not.")
serving_batch_option = click.option(
    "--serving-batch", type=AT_LEAST_ONE, default=16, help="Pictures a call, in serving."
)
subscription_option = click.option(
    "--subscription", help="Whose channels are drawn.  [default: the middle one]"
)
_image_size_option = click.option("--image-size", default=224, help="Side of the input, in pixels.")

_precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    help="Arithmetic of training; auto is bf16 on CUDA devices that have it, else fp32. On "
    "CPUs with AVX512-BF16 or AMX, bf16 is up to twice as fast.",
)


def _batch_and_size(usual: str) -> Callable[[Any], Any]:
    """Return options of a step; without a batch it is what `usual` says."""
    batch = click.option(
        "--batch-size",
        type=click.IntRange(2),
        help=f"Pictures a step, of every scheme.  [default: {usual}]",
    )
    return all_of(batch, _image_size_option, _precision_option)


rounds_option = click.option(
    "--rounds", type=AT_LEAST_ONE, default=3, help="Visits to each, in turns."
)


def _data_option(missing: str | None) -> Callable[[Any], Any]:
    """Return `--data`; without it there is what `missing` says, or an error where it is None."""
    return click.option(
        "--data",
        multiple=True,
        required=missing is None,
        metavar="NAME=KIND:PATH",
        help="A data set, by any reader of `train --data`; several times."
        + ("" if missing is None else f"  [default: none: {missing}]"),
    )


_download_option = click.option("--download", is_flag=True, help="Let torchvision download data.")
data_options = all_of(_data_option("the paper's figures alone"), output_option, _download_option)
_recipe_options = all_of(
    click.option(
        "--recipe",
        type=click.Choice(["paper", "steady"]),
        default="paper",
        help="How runs are trained; see train. paper: each scheme at its printed batch and rate.",
    ),
    click.option(
        "--decay-epochs",
        type=click.IntRange(0),
        help="Divide the rate by ten after each so many epochs; 0: at each third of the run.  "
        "[default: 30, as the paper; steady reads none]",
    ),
    click.option(
        "--tuned",
        type=FILE,
        multiple=True,
        help="Recipes that `paper tune` chose for each scheme and data set, in place of --recipe; "
        "its epochs, batch and image size and SNOW's form too. Several times where schemes were "
        "searched apart.",
    ),
)


def training_options(*, required: bool, tunes: bool = False) -> Callable[[Any], Any]:
    """Return the options of a command that trains.

    Args:
        required: On data that must be given.
        tunes: It chooses recipes, and takes none.
    """
    return all_of(
        _data_option(None if required else "no accuracies"),
        output_option,
        click.option(
            "--store",
            "root",
            type=FOLDER,
            help="Folder of the trained runs.  [default: OUTPUT/store]",
        ),
        source_options,
        click.option(
            "--seeds",
            type=Several(int, 0),
            default="0",
            help="Train each run once for each: mean and spread. What shows selections takes the "
            "first.",
        ),
        click.option("--epochs", default=90, help="Of each run."),
        form_options,
        *([] if tunes else [_recipe_options]),
        _batch_and_size(
            "what the paper has for each scheme" + ("" if tunes else "; with --recipe steady 256")
        ),
        click.option(
            "--workers", type=click.IntRange(0), default=2, help="Processes that load pictures."
        ),
        _download_option,
    )


def measuring_options(*, steps: bool) -> Callable[[Any], Any]:
    """Return the options of a command that trains nothing; with `steps` it measures training's."""
    return all_of(
        output_option,
        click.option("--source", "architecture", default="resnet50", help="Architecture."),
        form_options,
        _batch_and_size("what the paper has for each scheme, and 128 for all")
        if steps
        else _image_size_option,
    )


def classes_options(*, stored: bool) -> Callable[[Any], Any]:
    """Return options of what costs are of; with `stored` a store and data may say it."""
    usual = ("the data's, or the paper's", "the store's, or 1000")
    tasks, own = usual if stored else ("the paper's", "1000")
    return all_of(
        click.option(
            "--classes",
            type=Several(int, 2, repeats=True),
            help="Classes of each task beside the source's own, for counts and speeds.  "
            f"[default: {tasks} 101,47,40,196,200]",
        ),
        click.option(
            "--source-classes",
            type=click.IntRange(2),
            help=f"Classes of the source's own head.  [default: {own}]",
        ),
    )


speed_options = all_of(
    click.option("--steps", type=AT_LEAST_ONE, default=10, help="Steps timed together."),
    rounds_option,
    click.option(
        "--batch",
        "batches",
        type=SchemeBatch(),
        multiple=True,
        help="SCHEME=N: a batch of its own for one scheme's speed; several times.",
    ),
)
