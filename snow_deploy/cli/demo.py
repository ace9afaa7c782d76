"""`snow-deploy demo`: SNOW end to end on rendered pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from snow_deploy.cli.options import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.demo.walk import DemoOutcome


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    default="demo-output",
    help="Folder for the store, the graph and the report; an earlier demo there is replaced.",
)
@click.option("--quick", is_flag=True, help="A few pictures only: shows the way, not accuracies.")
def command(output: Path, *, quick: bool) -> None:
    """Train a source and three tasks on rendered pictures, export them and write a report.

    Then the exported model learns one question more from twenty labels.

    Everything is computed here and now, without downloads, in two to four minutes on
    two idle CPU cores. The report is OUTPUT/report.html.
    """
    from snow_deploy.demo.pretrain import PretrainOptions
    from snow_deploy.demo.report import write_demo_report
    from snow_deploy.demo.walk import DemoOptions, walk

    options = DemoOptions()
    if quick:
        few = PretrainOptions(data="demo:scene?train=64&test=32&size=48&seed=1", epochs=1)
        options = DemoOptions(few, train=64, test=32, epochs=2, rounds=3, workers=0)
    output.mkdir(parents=True, exist_ok=True)
    try:
        outcome = walk(output, options, click.echo)
    except KeyboardInterrupt:
        advice = "interrupted; the same command begins anew"
        raise KeyboardInterrupt(advice) from None
    report = write_demo_report(outcome, output / "report.html", options)
    _print(outcome)
    click.echo(f"\nreport: {report}")


def _print(outcome: DemoOutcome) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Test accuracy by task, one frozen source", title_justify="left")
    for column in ("task", "SNOW", "linear classifier", "parameters", "largest error, ONNX"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for record, parity in zip(outcome.records, outcome.parity, strict=True):
        metrics = record.metrics
        table.add_row(
            record.name,
            f"{metrics['accuracy']:.3f}",
            f"{metrics['linear_accuracy']:.3f}",
            f"{metrics['parameters'] / 1e6:.2f} M",
            f"{parity.max_error:.0e}",
        )
    table.add_row("(source)", "", "", f"{outcome.source_parameters / 1e6:.2f} M", "")
    Console().print(table)
    shared, separate = outcome.latency_ms["shared"], outcome.latency_ms["separate"]
    click.echo(
        f"one frame, all tasks: shared graph {shared:.1f} ms, {len(outcome.records)} separate "
        f"whole models {separate:.1f} ms ({separate / shared:.2f} times as long)"
    )
    new = outcome.new_question
    click.echo(
        f"one question more, {new.name}, from {new.labelled} labels: {new.accuracy:.3f} right of "
        f"{new.tests} held-out pictures, {new.guessed:.3f} by guessing; it answered "
        f"{new.seconds:.1f} s after the last label"
    )
