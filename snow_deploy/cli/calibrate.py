"""`snow-deploy calibrate`: an fp32 graph made INT8, if it keeps its accuracy."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_calibration.run import Settings


@click.command("calibrate")
@click.argument("graph", type=click.Path(path_type=Path))
@click.option(
    "--data",
    "specs",
    metavar="[TASK=]KIND:PATH",
    multiple=True,
    required=True,
    help="A task's data, as for `train`; one for each task. TASK may be left out where the "
    "labels tell it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="snow.int8.onnx",
    show_default=True,
    help="The ONNX file to write; the report takes its name.",
)
@click.option(
    "--method",
    type=click.Choice(["entropy", "percentile", "minmax", "mse"]),
    default="entropy",
    show_default=True,
    help="How the range of a tensor is chosen.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Training pictures to measure ranges on, as many of each task and class.",
)
@click.option(
    "--max-drop",
    type=FiniteRange(min=0),
    default=0.5,
    show_default=True,
    help="Points of top-1 that no task may lose against fp32.",
)
@click.option(
    "--keep-fp16",
    metavar="LAYER",
    multiple=True,
    help="Leave a layer in floating point; `*` stands for anything, as in 'source/layer4*'.",
)
@click.option("--auto", is_flag=True, help="Leave the worst layers in floating point, if need be.")
@click.option(
    "--rest",
    type=click.Choice(["fp16", "fp32"]),
    default="fp16",
    show_default=True,
    help="Precision of what is not INT8.",
)
@click.option(
    "--ranges",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The ranges' file: an interrupted run goes on with it, a finished one is reused.  "
    "[default: GRAPH's name with .ranges.json, beside OUTPUT]",
)
@click.option(
    "--validation",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Judge by at most so many pictures of a task.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The one that the tasks were trained with; it splits data without splits of its own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(context: click.Context, /, graph: Path, specs: tuple[str, ...], **options: Any) -> None:
    """Make an INT8 graph of GRAPH, an fp32 one, and judge it by every task's accuracy.

    Pairs of QuantizeLinear and DequantizeLinear are put where TensorRT fuses them. The graph is
    written only if no task loses more than --max-drop points on its validation data (test data
    where there is none); otherwise the exit code is 1. A report (.json, .png) is written beside.
    """
    from snow_calibration.report import finite, write_report
    from snow_calibration.run import calibrate_and_judge, check
    from snow_deploy.calibration import pictures_of

    as_json, output = options.pop("as_json"), options["output"]
    chosen = _settings(graph, options)
    check(graph, output, chosen)  # before thousands of pictures are read
    samples, truth = pictures_of(
        graph, specs, options["samples"], options["validation"], options["seed"]
    )
    with _progress() as told:
        report = calibrate_and_judge(graph, output, samples, truth, chosen, progress=told)
    # A rejected graph is not written, so its report must not take the place of the file's.
    kept, rejected = (
        output.with_name(output.name.removesuffix(".onnx") + suffix)
        for suffix in (".report.json", ".rejected.report.json")
    )
    write_report(report, kept if report.holds else rejected)
    if report.holds:  # what was rejected before says nothing of the file that is there now
        for stale in (rejected, rejected.with_suffix(".png")):
            stale.unlink(missing_ok=True)
    if as_json:
        click.echo(json.dumps(finite(report.to_dict()), indent=2))
    else:
        for line in report.lines():
            click.echo(line)
    if not report.holds:
        numbers = all(math.isfinite(score.logit_error) for score in report.steps[-1].scores)
        advice = "Try another --method, or more --samples with another --ranges"
        advice += "" if chosen.auto else ", or give --auto"
        if not numbers and chosen.rest == "fp16":
            advice = "Some answers are no numbers: half precision overflows. Give --rest fp32"
        click.echo(f"error: a task loses too much; {output} was not written. {advice}.", err=True)
        context.exit(1)


def _settings(graph: Path, options: dict[str, Any]) -> Settings:
    from snow_calibration.run import Settings

    output: Path = options["output"]
    return Settings(
        ranges=options["ranges"] or output.with_name(f"{graph.stem}.ranges.json"),
        method=options["method"],
        rest=options["rest"],
        max_drop=options["max_drop"],
        keep=options["keep_fp16"],
        auto=options["auto"],
    )


@contextmanager
def _progress() -> Iterator[Any]:
    """Show a bar on stderr for each stage that is told of: its name, and how much is done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        bars: dict[str, Any] = {}

        def told(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = bar.add_task(stage, total=total)
            bar.update(bars[stage], completed=done)

        yield told
