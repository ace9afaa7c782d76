"""Table 1: the schemes in words, each word derived from a figure that was measured."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Final

from snow_deploy.models.source import Source
from snow_deploy.paper import printed
from snow_deploy.paper.accuracies import measure_accuracies
from snow_deploy.paper.columns import training_note
from snow_deploy.paper.costs import serving_note, speed_note
from snow_deploy.paper.lifelong import remembered
from snow_deploy.paper.measure.networks import count_together
from snow_deploy.paper.measure.serving import measure_serving
from snow_deploy.paper.measure.steps import measure_steps
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import OURS, grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.runs import train_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.study import Study

GOOD_WITHIN: Final = 0.05
"""Of the best accuracy: good. Within twice as much: medium. The rest is poor."""
FORGOTTEN_FROM: Final = 0.01
"""Of accuracy lost, on average: there is forgetting."""
HALF: Final = 0.5
"""Of the best speed, or of the smallest model over one's own: good from here on."""

_HEADINGS = {
    "accuracy": "accuracy",
    "forgotten": "forgotten",
    "training": "training, images/s",
    "serving": "serving, images/s",
    "size": "parameters, M",
}
_FORMS = {"accuracy": "share", "forgotten": "share", "size": "millions"}


def make_table1(study: Study, costing: Costing, batch: int) -> tuple[TableReport, Figure]:
    """Train what is missing, measure training and serving, count, and put it into words.

    Args:
        study: Its store holds the source. With two data sets or more LF's forgetting is measured.
        costing: Which networks are timed and counted.
        batch: Pictures a call, in serving.
    """
    kept = MeasurementCache(study.output / "measured")
    found = measure_accuracies(study, kept)
    contenders = study.contenders()
    options = {
        each.name: study.options(each.scheme, 0, batch_size=each.batch_size) for each in contenders
    }
    setups = {name: costing.setup(chosen) for name, chosen in options.items()}
    steps = measure_steps(setups, kept, costing.effort, study.say)
    served = measure_serving(setups, batch, kept, costing.effort.rounds, study.say)
    source = Source(costing.weights())
    figures: dict[str, dict[str, float | None]] = {
        each.name: {
            "accuracy": fmean(
                [r.accuracy for several in found[each.name].values() for r in several]
            ),
            "forgotten": _forgotten(study, each.scheme, kept),
            "training": steps[each.name].images_per_s,
            "serving": served[each.name],
            "size": count_together(source, options[each.name], costing.classes) / 1e6,
        }
        for each in contenders
    }
    rows: list[dict[str, Cell]] = [
        {**row, "batch": steps[str(row["scheme"])].batch} for row in table_in_words(figures)
    ]
    device = str(describe_device(default_device())["device"])
    notes = [
        (
            f"accuracy: good within {GOOD_WITHIN} of the best, medium within {2 * GOOD_WITHIN}. "
            f"forgotten: yes from {FORGOTTEN_FROM} on; all but lf share nothing that is trained. "
            "training and serving: good from half of the fastest on. size: good up to twice the "
            "smallest. The same rules give the paper's words from its own Tables 5, 7, 8 "
            "and 9, with fo's serving and size for lf, which Table 5 lacks; but for lf's accuracy: "
            "in the end it is poor there."
        ),
        training_note(study, spread=False),
        speed_note(steps, study.image_size, device),
        f"serving at batch {batch}: {serving_note(costing, study.image_size, device)}",
    ]
    columns = [Column("scheme", "scheme")]
    for key, heading in _HEADINGS.items():
        if key == "training":
            columns.append(Column("batch", "batch", "whole"))
        columns.append(Column(key, heading, _FORMS.get(key, "number")))  # type: ignore[arg-type]
        columns.append(Column(f"{key}_word", "in a word"))
        columns.append(Column(f"paper_{key}", "paper", printed=True))
    title = "Table 1: the schemes compared"
    facts = {**study.facts(), **costing.facts(), "device": device}
    report = TableReport("table1", title, columns, rows, notes, facts)
    return report, _draw(report)


def _forgotten(study: Study, scheme: str, kept: MeasurementCache) -> float | None:
    """Return how much of earlier accuracies is lost; what shares nothing loses nothing."""
    if scheme != "lf":
        return 0.0
    if len(study.data) < 2:
        return None
    lost = []
    for seed in study.seeds:
        chain = study.chain(seed)
        steps = remembered(study, chain, train_runs(study, chain), kept)
        lost += [
            steps[place][run.data]["accuracy"] - steps[-1][run.data]["accuracy"]
            for place, run in enumerate(chain[:-1])
        ]
    return fmean(lost)


def table_in_words(figures: Mapping[str, Mapping[str, float | None]]) -> list[dict[str, Cell]]:
    """Return a row of each contender: its figures, our words for them, and the paper's.

    Args:
        figures: Figures by contender: `accuracy` (0 to 1), `forgotten` (likewise), `training` and
            `serving` (images a second) and `size` (any unit); None where it was not measured.
    """
    best = {
        key: _best(key, [each[key] for each in figures.values()])
        for key in ("accuracy", "training", "serving", "size")
    }
    rows = []
    for name, mine in figures.items():
        row: dict[str, Cell] = {"scheme": name}
        papers = printed.WORDS.get(name.partition("-")[0], (None,) * len(_HEADINGS))
        for key, word in zip(_HEADINGS, papers, strict=True):
            value = mine[key]
            ours = None if value is None else in_a_word(key, value, best.get(key, 0.0))
            row |= {key: value, f"{key}_word": ours, f"paper_{key}": word}
        rows.append(row)
    return rows


def in_a_word(key: str, value: float, best: float) -> str:
    """Put a figure into the paper's words.

    Args:
        key: As in `table_in_words`.
        value: The figure.
        best: The best contender's.
    """
    if key == "forgotten":
        return "yes" if value >= FORGOTTEN_FROM else "no"
    if key == "accuracy":
        steps = ((GOOD_WITHIN, "good"), (2 * GOOD_WITHIN, "medium"))
        return next((word for within, word in steps if best - value <= within), "poor")
    share = best / value if key == "size" else value / best
    return "good" if share >= HALF else "poor"


def _best(key: str, values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return min(known) if key == "size" else max(known)


def _draw(report: TableReport) -> Figure:
    keys = ("accuracy", "training", "serving", "size")
    figure = new_figure(13.0, 3.2)
    labels = [str(cell) for cell in report.column("scheme")]
    for axes, key in zip(figure.subplots(1, len(keys)), keys, strict=True):
        grouped_bars(axes, labels, {"ours": report.column(key)}, colours=(OURS,))
        axes.set(title=_HEADINGS[key])
        axes.tick_params(axis="x", labelsize=6)
    figure.suptitle(report.title, fontsize=10)
    return figure
