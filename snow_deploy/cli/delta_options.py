"""Options that say of what shape a delta is."""

from __future__ import annotations

from typing import Any

import click

from snow_deploy.cli.options import AT_LEAST_ONE, all_of

_ALL, _FIRST = "all", "first"


class BlockCount(click.ParamType[int | None]):
    """How many blocks of a stage: a number, `first`, or `all`, which is None."""

    name = "all|first|n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Read it; an error of usage says what is wrong."""
        if value is None or value == _ALL:
            return None
        if value == _FIRST:
            return 1
        try:
            return AT_LEAST_ONE.convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not {_ALL}, {_FIRST} or a number from 1 on.", param, ctx)


form_options = all_of(
    click.option(
        "--blocks",
        type=BlockCount(),
        default=_ALL,
        show_default=True,
        metavar="all|first|N",
        help="How many blocks of each stage a delta has. Those that change a tensor's shape always "
        "stay.",
    ),
    click.option(
        "--from-stage",
        type=AT_LEAST_ONE,
        metavar="S",
        help="Begin the delta at this stage, on the whole tensor that the source's stage reads. A "
        "stage is blocks of one height and width; a ResNet has 1 to 4.  [default: begin with the "
        "image]",
    ),
    click.option(
        "--classifier-reads",
        type=click.Choice(["last", "taps"]),
        default="last",
        help="What the delta's classifier reads beside its local features. last: the source's last "
        "ones, as in the paper. taps: those, and the features of all the source's blocks that a "
        "readout's fit chooses; it begins as that readout, by the recipe steady; the `paper` "
        "commands take recipes of `paper tune` too.",
    ),
)
"""Those of a delta's form, beyond the paper."""

delta_options = all_of(
    click.option(
        "--subscription",
        type=click.Choice(["pooling", "conv1x1", "attention", "all"]),
        default="pooling",
        help="How a delta takes over a source tensor's N channels. pooling: chooses N/k. conv1x1: "
        "projects them to N/k. attention: all, each times a gate. all: as they are.",
    ),
    click.option("--k", default=8, help="Subscribe to N/k of N channels."),
    click.option("--width", default=8, help="Divide the delta's (or fe's) widths by this."),
    click.option("--sigma2", default=0.001, help="Variance of the channel pooling's noise."),
    click.option(
        "--pooling-norm",
        type=click.Choice(["before", "after", "none"]),
        default="before",
        help="A BatchNorm on the chosen channels before they are weighted, after it (the weights "
        "then never learn), or none.",
    ),
    click.option(
        "--pooling-weights",
        type=click.Choice(["noisy", "clean"]),
        default="noisy",
        help="What training multiplies the chosen channels by: weights with the noise that chose "
        "them (the paper's section 2.2), or without it (its Algorithm 1).",
    ),
    click.option(
        "--pooling-order",
        type=click.Choice(["places", "descending"]),
        default="places",
        help="A chosen channel comes out where it came out before, or by falling weight (the "
        "paper's Algorithm 1).",
    ),
    form_options,
)
