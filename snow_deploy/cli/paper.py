"""`snow-deploy paper`: the paper's tables and figures, on data of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.paper_options import (
    Several,
    classes_option,
    measuring_options,
    rounds_option,
    schemes_option,
    source_classes_option,
    speed_options,
    training_options,
)
from snow_deploy.cli.paper_study import OF_STEPS, PaperOptions, make_costing, make_study
from snow_deploy.cli.tables import columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.paper.report import TableReport

_sigma2_option = click.option(
    "--sigma2",
    "sigma2s",
    type=Several(float, 0),
    default="0,0.0001,0.001,0.01",
    help="Variances of the channel pooling's noise.",
)
_ks_option = click.option(
    "--k", "ks", type=Several(int, 1), default="4,8,16", help="Subscribe to N/k of N channels."
)
_speed_switch = click.option(
    "--speed/--no-speed", default=True, help="Measure speed and peak memory, or only count."
)


@click.group("paper")
def command() -> None:
    """Repeat the paper's tables and figures on data of one's own.

    Each command prints ours beside what the paper prints and writes NAME.csv, NAME.json and
    NAME.png into --output. Trained runs and measurements are kept: an interrupted command goes on
    where it was, what is done is skipped, and what has other options is made anew. See
    docs/lab/reproduction.md.
    """
    from snow_deploy.allocator import keep_freed_memory

    keep_freed_memory()


@command.command("table3")
@training_options(required=True)
@schemes_option
def table3(**chosen: Any) -> None:
    """Accuracy of every scheme on every data set."""
    from snow_deploy.paper.table3 import make_table3

    options = PaperOptions(**chosen)
    _show(options, *make_table3(make_study(options)))


@command.command("table4")
@training_options(required=True)
@_sigma2_option
@_ks_option
def table4(sigma2s: tuple[float, ...], ks: tuple[int, ...], **chosen: Any) -> None:
    """SNOW's accuracy over the noise and the channels kept."""
    from snow_deploy.paper.table4 import make_table4

    options = PaperOptions(**chosen)
    _show(options, *make_table4(make_study(options), sigma2s, ks))


@command.command("table5")
@measuring_options(steps=True)
@schemes_option
@classes_option
@source_classes_option
@speed_options
@_speed_switch
def table5(**chosen: Any) -> None:
    """Parameters, peak memory and speed of training."""
    from snow_deploy.paper.table5 import make_table5

    options = PaperOptions(**chosen)
    study = make_study(options)
    _show(options, *make_table5(study, make_costing(options, study)))


@command.command("table6")
@training_options(required=False)
@classes_option
@source_classes_option
@speed_options
@_speed_switch
def table6(**chosen: Any) -> None:
    """Ways of taking source channels over: cost and accuracy."""
    from snow_deploy.paper.table6 import make_table6

    options = PaperOptions(**chosen)
    study = make_study(options)
    _show(options, *make_table6(study, make_costing(options, study, ("snow",))))


@command.command("table7")
@training_options(required=False)
@classes_option
@source_classes_option
@_ks_option
@click.option(
    "--width",
    "widths",
    type=Several(int, 1),
    default="4,8,16",
    help="Divide the delta's widths by these.",
)
def table7(ks: tuple[int, ...], widths: tuple[int, ...], **chosen: Any) -> None:
    """Size of the delta and channels kept: parameters and accuracy."""
    from snow_deploy.paper.table7 import make_table7

    options = PaperOptions(**chosen)
    study = make_study(options, unread=OF_STEPS)
    made = make_table7(study, make_costing(options, study), widths, ks)
    _show(options, *made)


@command.command("table8")
@measuring_options(steps=False)
@schemes_option
@classes_option
@source_classes_option
@rounds_option
@click.option("--serving-batch", type=Several(int, 1), default="1,16", help="Pictures a call.")
def table8(serving_batch: tuple[int, ...], **chosen: Any) -> None:
    """Throughput of serving many tasks."""
    from snow_deploy.paper.table8 import make_table8

    options = PaperOptions(**chosen)
    study = make_study(options)
    made = make_table8(study, make_costing(options, study), serving_batch)
    _show(options, *made)


@command.command("table9")
@training_options(required=True)
def table9(**chosen: Any) -> None:
    """Lifelong learning: what is forgotten."""
    from snow_deploy.paper.table9 import make_table9

    options = PaperOptions(**chosen)
    _show(options, *make_table9(make_study(options)))


@command.command("figure4")
@training_options(required=True)
@schemes_option
@classes_option
@source_classes_option
@speed_options
def figure4(**chosen: Any) -> None:
    """Accuracy against the speed of training."""
    from snow_deploy.paper.figure4 import make_figure4

    options = PaperOptions(**chosen)
    study = make_study(options)
    _show(options, *make_figure4(study, make_costing(options, study)))


@command.command("figure5")
@training_options(required=True)
@_sigma2_option
@click.option("--subscription", help="Whose channels are drawn.  [default: the middle one]")
def figure5(sigma2s: tuple[float, ...], subscription: str | None, **chosen: Any) -> None:
    """Channels chosen over training, by noise; learning curves."""
    from snow_deploy.paper.figure5 import make_figure5

    options = PaperOptions(**chosen)
    made = make_figure5(make_study(options), sigma2s, subscription)
    _show(options, *made)


@command.command("figure6")
@training_options(required=True)
def figure6(**chosen: Any) -> None:
    """Channels that tasks have in common, by layer."""
    from snow_deploy.paper.figure6 import make_figure6

    options = PaperOptions(**chosen)
    _show(options, *make_figure6(make_study(options)))


def _show(options: PaperOptions, report: TableReport, figure: Figure) -> None:
    """Print a table, and write it with its plot."""
    files = report.write(options.output, figure)
    click.echo(report.title)
    for line in columns(report.cells()):
        click.echo(line)
    for note in report.footnotes():
        click.echo(note)
    click.echo(f"wrote {', '.join(map(str, files))}")
