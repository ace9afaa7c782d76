"""`snow-deploy paper`: the paper's tables and figures, on data of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import AT_LEAST_ONE
from snow_deploy.cli.paper_beyond import (
    common_channels,
    pooling_variants,
    settling,
    shapes,
    statements,
    tune,
)
from snow_deploy.cli.paper_options import (
    COMPARED,
    SCHEMES,
    Several,
    classes_options,
    data_options,
    ks_option,
    measuring_options,
    output_option,
    rounds_option,
    schemes_option,
    serving_batch_option,
    sigma2_option,
    speed_options,
    speed_switch,
    subscription_option,
    training_options,
    widths_option,
)
from snow_deploy.cli.paper_study import PaperOptions, make_costing, make_study, show

if TYPE_CHECKING:
    from pathlib import Path


@click.group("paper")
def command() -> None:
    """Repeat the paper's tables and figures on data of one's own.

    table1 to table9 and figure4 to figure6 show what the paper's of that number show, ours beside
    what the paper prints; the other commands go beyond it. Each writes NAME.csv, NAME.json and
    NAME.png into --output. Trained runs and measurements are kept: an interrupted command goes on
    where it was, what is done is skipped, and what has other options is made anew. See
    docs/lab/reproduction.md.
    """
    from snow_deploy.allocator import keep_freed_memory

    keep_freed_memory()


@command.command("table1")
@training_options(required=True)
@schemes_option(SCHEMES)
@classes_options(stored=True)
@speed_options
@serving_batch_option
def table1(serving_batch: int, **chosen: Any) -> None:
    """The schemes in words, each derived from a figure."""
    from snow_deploy.paper.table1 import make_table1

    options = PaperOptions(**chosen)
    study = make_study(options)
    show(options.output, *make_table1(study, make_costing(options, study), serving_batch))


@command.command("table2")
@output_option
@click.option(
    "--channels",
    type=Several(int, 16),
    default="256,512,1024,2048",
    help="N: channels of the source that are subscribed to.",
)
@click.option("--side", type=AT_LEAST_ONE, default=14, help="Height and width of a map.")
@click.option("--maps", type=AT_LEAST_ONE, default=8, help="Maps in a call.")
@rounds_option
def table2(output: Path, channels: tuple[int, ...], side: int, maps: int, rounds: int) -> None:
    """What a subscription costs: counts and time."""
    from snow_deploy.paper.table2 import make_table2

    study = make_study(PaperOptions(output=output))
    show(output, *make_table2(study, sorted(channels), side, maps, rounds))


@command.command("table3")
@data_options
def table3(**chosen: Any) -> None:
    """The data sets: classes and pictures."""
    from snow_deploy.paper.table3 import make_table3

    options = PaperOptions(**chosen)
    show(options.output, *make_table3(make_study(options, trains=False)))


@command.command("table4")
@training_options(required=True)
@ks_option
@widths_option
@sigma2_option("0.1,0.001,0.00001,0.0000001")
def table4(
    ks: tuple[int, ...], widths: tuple[int, ...], sigma2s: tuple[float, ...], **chosen: Any
) -> None:
    """SNOW over K, the delta's size and the noise."""
    from snow_deploy.paper.table4 import make_table4

    options = PaperOptions(**chosen)
    show(options.output, *make_table4(make_study(options), ks, widths, sigma2s))


@command.command("table5")
@measuring_options(steps=False)
@schemes_option(SCHEMES)
@classes_options(stored=False)
@rounds_option
@click.option("--serving-batch", type=Several(int, 1), default="1,16", help="Pictures a call.")
@speed_switch
def table5(serving_batch: tuple[int, ...], **chosen: Any) -> None:
    """Parameters and serving throughput of all tasks together."""
    from snow_deploy.paper.table5 import make_table5

    options = PaperOptions(**chosen)
    study = make_study(options)
    show(options.output, *make_table5(study, make_costing(options, study), serving_batch))


@command.command("table6")
@training_options(required=False)
@classes_options(stored=True)
@rounds_option
@serving_batch_option
@speed_switch
def table6(serving_batch: int, **chosen: Any) -> None:
    """Ways of taking source channels over: cost, serving, accuracy."""
    from snow_deploy.paper.table6 import make_table6

    options = PaperOptions(**chosen)
    study = make_study(options)
    costing = make_costing(options, study, ("snow",))
    show(options.output, *make_table6(study, costing, serving_batch))


@command.command("table7")
@training_options(required=True)
@schemes_option(COMPARED)
def table7(**chosen: Any) -> None:
    """Top-1 and top-5 of every scheme on every data set."""
    from snow_deploy.paper.table7 import make_table7

    options = PaperOptions(**chosen)
    show(options.output, *make_table7(make_study(options)))


@command.command("table8")
@measuring_options(steps=True)
@schemes_option(SCHEMES)
@classes_options(stored=False)
@speed_options
def table8(**chosen: Any) -> None:
    """Speed and memory of training."""
    from snow_deploy.paper.table8 import make_table8

    options = PaperOptions(**chosen)
    study = make_study(options)
    show(options.output, *make_table8(study, make_costing(options, study)))


@command.command("table9")
@training_options(required=True)
@classes_options(stored=True)
@speed_options
@speed_switch
@click.option(
    "--second-order",
    type=Several(str),
    default=None,
    help="Names of the data sets in the order of the second chain.  [default: the reverse of the "
    "order in which they are given]",
)
def table9(second_order: tuple[str, ...] | None, **chosen: Any) -> None:
    """Learning without forgetting, in two orders."""
    from snow_deploy.paper.table9 import make_table9

    options = PaperOptions(**chosen)
    study = make_study(options)
    costing = make_costing(options, study, ("lf",))
    show(options.output, *make_table9(study, costing, second_order or ()))


@command.command("figure4")
@training_options(required=True)
@schemes_option(COMPARED)
@classes_options(stored=True)
@speed_options
def figure4(**chosen: Any) -> None:
    """Accuracy over the speed of training, circles by memory."""
    from snow_deploy.paper.figure4 import make_figure4

    options = PaperOptions(**chosen)
    study = make_study(options)
    show(options.output, *make_figure4(study, make_costing(options, study)))


@command.command("figure5")
@training_options(required=True)
@subscription_option
def figure5(subscription: str | None, **chosen: Any) -> None:
    """Channels that a subscription selects over training."""
    from snow_deploy.paper.figure5 import make_figure5

    options = PaperOptions(**chosen)
    show(options.output, *make_figure5(make_study(options), subscription))


@command.command("figure6")
@training_options(required=True)
@schemes_option(COMPARED)
def figure6(**chosen: Any) -> None:
    """Accuracy of every scheme over training."""
    from snow_deploy.paper.figure6 import make_figure6

    options = PaperOptions(**chosen)
    show(options.output, *make_figure6(make_study(options)))


for _beyond in (common_channels, pooling_variants, settling, shapes, statements, tune):
    command.add_command(_beyond)
