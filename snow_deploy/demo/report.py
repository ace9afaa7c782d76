"""The demo's one-page HTML report: tables, curves, predictions, selections."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import jinja2
import numpy as np

from snow_deploy.data import open_data
from snow_deploy.demo import figures
from snow_deploy.training.reliability_file import read_reliability
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from snow_deploy.demo.walk import DemoOptions, DemoOutcome


def write_demo_report(outcome: DemoOutcome, path: Path, options: DemoOptions) -> Path:
    """Write the report as one self-contained file and return its path."""
    tasks = [record.name for record in outcome.records]
    runs = {task: outcome.store.run_path(task) for task in tasks}
    histories = {task: _load_history(run / "selections.npz") for task, run in runs.items()}
    name, channels = _busiest(outcome)
    shared, separate = outcome.latency_ms["shared"], outcome.latency_ms["separate"]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        files("snow_deploy.demo").joinpath("report.html.jinja").read_text(encoding="utf-8")
    )
    page = template.render(
        outcome=outcome,
        rows=list(zip(outcome.records, outcome.parity, strict=True)),
        tasks=tasks,
        options=options,
        subscription=name,
        channels=channels,
        ratio=separate / shared,
        minutes=sum(outcome.seconds.values()) / 60,
        curves=figures.curves(
            {task: figures.read_curve(run / "curve.csv") for task, run in runs.items()},
            {record.name: record.metrics["linear_accuracy"] for record in outcome.records},
        ),
        selections=figures.selections(histories, name, channels),
        reliability=figures.reliability(
            {task: read_reliability(run) for task, run in runs.items()}
        ),
        predictions=_predictions(outcome, options),
    )
    with atomic_write(path, "w") as file:
        file.write(page)
    return path


def _load_history(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _busiest(outcome: DemoOutcome) -> tuple[str, int]:
    """Choose the subscription to draw: the last one that a picture can show channel by channel."""
    most = 256
    poolings = outcome.subscriptions
    shown = [(name, channels) for name, channels in poolings.items() if channels <= most]
    return shown[-1]


def _predictions(outcome: DemoOutcome, options: DemoOptions) -> list[dict[str, Any]]:
    pictures = open_data(options.data(outcome.records[0].name)).final[1]
    shown = []
    for index, result, truth in outcome.predictions:
        answers = [
            {
                "task": task,
                "label": answer.label,
                "probability": answer.probability,
                "truth": truth[task],
                "right": answer.label == truth[task],
            }
            for task, answer in result.items()
        ]
        shown.append({"image": figures.picture_uri(pictures.load(index)), "answers": answers})
    return shown
