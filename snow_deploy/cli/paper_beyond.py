"""Commands of `snow-deploy paper` that go beyond the paper's own tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.paper_options import (
    COMPARED,
    Several,
    classes_options,
    ks_option,
    output_option,
    schemes_option,
    sigma2_option,
    subscription_option,
    training_options,
    widths_option,
)
from snow_deploy.cli.paper_study import OF_STEPS, PaperOptions, make_costing, make_study, show

if TYPE_CHECKING:
    from pathlib import Path


@click.command("shapes")
@training_options(required=False)
@classes_options(stored=True)
@widths_option
@ks_option
@sigma2_option("0.001")
def shapes(
    widths: tuple[int, ...], ks: tuple[int, ...], sigma2s: tuple[float, ...], **chosen: Any
) -> None:
    """A grid of the delta's size, K and the noise."""
    from snow_deploy.paper.shapes_table import make_shapes_table

    options = PaperOptions(**chosen)
    study = make_study(options, unread=OF_STEPS)
    made = make_shapes_table(study, make_costing(options, study), widths, ks, sigma2s)
    show(options.output, *made)


@click.command("pooling-variants")
@training_options(required=True)
def pooling_variants(**chosen: Any) -> None:
    """Channel pooling as printed, and as it is here."""
    from snow_deploy.paper.pooling_variants import make_pooling_variants

    options = PaperOptions(**chosen)
    show(options.output, *make_pooling_variants(make_study(options)))


@click.command("settling")
@training_options(required=True)
@sigma2_option("0,0.0001,0.001,0.01")
@subscription_option
def settling(sigma2s: tuple[float, ...], subscription: str | None, **chosen: Any) -> None:
    """How selections settle, and SNOW learns, over the noise."""
    from snow_deploy.paper.settling_table import make_settling

    options = PaperOptions(**chosen)
    show(options.output, *make_settling(make_study(options), sigma2s, subscription))


@click.command("common-channels")
@training_options(required=True)
def common_channels(**chosen: Any) -> None:
    """Channels that tasks have in common, by layer."""
    from snow_deploy.paper.common_channels import make_common_channels

    options = PaperOptions(**chosen)
    show(options.output, *make_common_channels(make_study(options)))


@click.command("statements")
@output_option
def statements(output: Path) -> None:
    """What the paper states, beside its tables and ours.

    Sections 3.1 to 3.4.

    Reads what table4 to table8, figure5 and figure6 have left in --output; measures nothing.
    """
    from snow_deploy.paper.statements import make_statements

    show(output, *make_statements(output))


@click.command("tune")
@training_options(required=True, tunes=True)
@schemes_option(COMPARED)
@click.option(
    "--rates",
    type=Several(float, 1e-9),
    default="0.01,0.03,0.1,0.3,1.0",
    help="Learning rates of the body that are tried, at a batch of 256.",
)
@click.option(
    "--classifier-rates",
    type=Several(float, 1e-9),
    default="0.003,0.01,0.03,0.1",
    help="Likewise of the classifier, where it reads as many features as the source gives.",
)
@click.option(
    "--crops",
    type=Several(float, 1e-9),
    default="0.5,0.25",
    help="Smallest shares of a picture's area that are tried as crops.",
)
@click.option(
    "--held-out",
    type=click.IntRange(0),
    default=0,
    help="Seed of the fifth of the training pictures that decides.",
)
def tune(
    rates: tuple[float, ...],
    classifier_rates: tuple[float, ...],
    crops: tuple[float, ...],
    held_out: int,
    **chosen: Any,
) -> None:
    """Choose a recipe for every scheme, by one protocol.

    The same values of each setting are tried for every scheme: the body's and the classifier's
    rate, the classifier's start, crops, schedule, and for SNOW the second loss; one setting after
    another, on a fifth of the training pictures that is held out. Test pictures are not read. What
    is chosen comes into OUTPUT/tuned.json, which the other commands read with --tuned.
    """
    from dataclasses import replace

    from snow_deploy.paper.search_grid import SearchGrid
    from snow_deploy.paper.tune import choose_recipes
    from snow_deploy.training.options import RECIPES

    options = PaperOptions(**chosen)
    if "lf" in (options.schemes or ()):
        msg = "lf learns with what is chosen for ft; give --schemes ft for it, and leave lf out"
        raise click.UsageError(msg)
    planned = RECIPES["steady"] if options.classifier_reads == "taps" else None
    study = replace(make_study(options, planned=planned), held_out=held_out)
    grid = SearchGrid(rates, classifier_rates, crops=crops)
    show(options.output, *choose_recipes(study, grid))
