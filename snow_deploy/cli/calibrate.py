"""`snow-deploy calibrate`: an fp32 graph made INT8, if it keeps its accuracy."""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from snow_deploy.cli.options import AT_LEAST_ONE, FILE, PATH, FiniteRange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_calibration.report import CalibrationReport
    from snow_calibration.run import CalibrationSettings
    from snow_deploy.stages.calibration_pictures import Drawing

_EXITS = {"fail": 3, "undecided": 4}


@click.command("calibrate")
@click.argument("graph", type=PATH)
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
    type=FILE,
    default="snow.int8.onnx",
    help="The ONNX file to write; the report takes its name.",
)
@click.option(
    "--method",
    type=click.Choice(["entropy", "percentile", "minmax", "mse"]),
    default="entropy",
    help="How the range of a tensor is chosen.",
)
@click.option(
    "--samples",
    type=AT_LEAST_ONE,
    default=512,
    help="Training pictures to measure ranges on, as many of each task and class.",
)
@click.option(
    "--max-drop",
    type=FiniteRange(min=0, min_open=True),
    default=3.0,
    help="Points of top-1 that every task must be shown to lose less than, against fp32. The "
    "smaller, the more pictures it takes to tell. Where a picture may have any number of labels, a "
    "point is one picture in a hundred of which more labels are wrong.",
)
@click.option(
    "--unlabelled",
    metavar="[TASK=]FOLDER",
    multiple=True,
    help="Pictures without labels, such as a camera's, that no task was trained on. Where INT8 "
    "answers few enough of them otherwise than fp32, a task passes by that. For all tasks, or one.",
)
@click.option(
    "--accept-undecided",
    is_flag=True,
    help="Write a graph that is neither shown to be good enough nor to lose too much, too.",
)
@click.option(
    "--keep-fp16",
    metavar="LAYER",
    multiple=True,
    help="Leave a layer in floating point; `*` stands for anything, as in 'source/layer4*'.",
)
@click.option(
    "--auto",
    is_flag=True,
    help="Leave the worst layers in floating point, if need be; they are chosen on validation "
    "data, or on training data where there is only one kind of held-out data.",
)
@click.option(
    "--rest",
    type=click.Choice(["fp16", "fp32"]),
    default="fp16",
    help="Precision of what is not INT8.",
)
@click.option(
    "--ranges",
    type=FILE,
    help="The ranges' file: an interrupted run goes on with it, a finished one is reused.  "
    "[default: GRAPH's name with .ranges.json, beside OUTPUT]",
)
@click.option(
    "--validation",
    type=AT_LEAST_ONE,
    default=2000,
    help="Judge by at most so many pictures of a task, and as many of --unlabelled.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="It splits data without splits of its own.  [default: the one that each task was trained "
    "with]",
)
@click.option(
    "--other-pictures",
    is_flag=True,
    help="Judge by pictures that the tasks may have been trained on, or whose accuracy is not the "
    "stored one: the report says so.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(
    context: click.Context,
    /,
    graph: Path,
    specs: tuple[str, ...],
    output: Path,
    *,
    as_json: bool,
    **given: Any,
) -> None:
    """Make an INT8 graph of GRAPH, an fp32 one, and judge it by every task's accuracy.

    Pairs of QuantizeLinear and DequantizeLinear are put where TensorRT fuses them. The graph is
    written only if it is shown that every task loses less than --max-drop points on its test data
    (validation data where there is none). A report (.json, .png) is written beside.

    Exit codes: 0 the graph was written; 1 an error; 2 an option that is not understood; 3 a task
    is shown to lose more than --max-drop; 4 undecided: too few pictures to tell.
    """
    from snow_calibration.run import calibrate_and_judge, check_request
    from snow_deploy.stages.calibration_pictures import pictures_of

    chosen, drawing = _settings(graph, output, given), _drawing(given)
    check_request(graph, output, chosen)  # before thousands of pictures are read
    with _warnings(), _progress() as progress:
        drawn, judged = pictures_of(graph, specs, drawing)
        report = calibrate_and_judge(graph, output, drawn, judged, chosen, progress=progress)
    _write_report(report, output)
    _print(report, as_json=as_json)
    if not report.written:
        click.echo(f"error: {_reason(report, chosen)}", err=True)
        context.exit(_EXITS[report.outcome])
    if not report.holds:
        click.echo(f"warning: {output} was written undecided, as --accept-undecided asks", err=True)


def _settings(graph: Path, output: Path, given: dict[str, Any]) -> CalibrationSettings:
    """Return how a graph is calibrated, by the options' names."""
    from snow_calibration.run import CalibrationSettings

    return CalibrationSettings(
        ranges=given["ranges"] or output.with_name(f"{graph.stem}.ranges.json"),
        method=given["method"],
        rest=given["rest"],
        max_drop=given["max_drop"],
        keep=given["keep_fp16"],
        auto=given["auto"],
        accept_undecided=given["accept_undecided"],
        other_pictures=given["other_pictures"],
    )


def _drawing(given: dict[str, Any]) -> Drawing:
    """Return which pictures are read for it, by the options' names."""
    from snow_deploy.stages.calibration_pictures import Drawing

    return Drawing(
        samples=given["samples"],
        judged=given["validation"],
        search=given["auto"],
        unlabelled=given["unlabelled"],
        seed=given["seed"],
        other_pictures=given["other_pictures"],
    )


def _print(report: CalibrationReport, *, as_json: bool) -> None:
    from snow_calibration.report import finite

    if as_json:
        click.echo(json.dumps(finite(report.to_dict()), indent=2))
        return
    for line in report.lines():
        click.echo(line)


def _write_report(report: CalibrationReport, output: Path) -> None:
    """Write the report beside the graph; one of a graph that was rejected under another name."""
    from snow_calibration.report import write_calibration_report

    # A rejected graph is not written, so its report must not take the place of the file's.
    kept, rejected = (
        output.with_name(output.name.removesuffix(".onnx") + suffix)
        for suffix in (".report.json", ".rejected.report.json")
    )
    write_calibration_report(report, kept if report.written else rejected)
    if report.written:  # what was rejected before says nothing of the file that is there now
        for stale in (rejected, rejected.with_suffix(".png")):
            stale.unlink(missing_ok=True)


def _reason(report: CalibrationReport, chosen: CalibrationSettings) -> str:
    """Say why the graph was not written, and what to do."""
    if report.outcome == "undecided":
        reason = (
            "the pictures are too few to tell whether every task loses less than "
            f"{chosen.max_drop:g} points"
        )
        advice = (
            "Give more pictures (the lines above say how many), --unlabelled FOLDER, or a larger "
            "--max-drop; --accept-undecided writes it all the same"
        )
        return f"{reason}; the graph was not written. {advice}."
    advice = "Try another --method, or more --samples with another --ranges"
    advice += "" if chosen.auto else ", or give --auto"
    if not all(score.finite for score in report.int8) and chosen.rest == "fp16":
        advice = "Some answers are no numbers: half precision overflows. Give --rest fp32"
    return f"a task loses too much; the graph was not written. {advice}."


@contextmanager
def _warnings() -> Iterator[None]:
    """Say warnings as errors are said: in one line, without where in the program they are from."""

    def show(message: Warning | str, *_: object) -> None:
        click.echo(f"warning: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


@contextmanager
def _progress() -> Iterator[Any]:
    """Show a bar on stderr for each stage: its name, and how much is done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        bars: dict[str, Any] = {}

        def show(stage: str, share: float) -> None:
            if stage not in bars:
                bars[stage] = bar.add_task(stage, total=1.0)
            bar.update(bars[stage], completed=share)

        yield show
