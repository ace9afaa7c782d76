"""Table 8: speed and memory of training, at the paper's batches and at one batch for all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from snow_deploy.paper import printed
from snow_deploy.paper.columns import form_note
from snow_deploy.paper.costs import ratio, speed_note, to_megabytes
from snow_deploy.paper.measure.steps import StepFigures, measure_steps
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import OURS, grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.study import SchemeAtBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.study import Study

EQUAL_BATCH = 128
"""Where no other is asked for: at this one the paper has FT, LF and SNOW."""
_COLUMNS = (
    Column("batches", "batches"),
    Column("scheme", "scheme"),
    Column("batch", "batch", "whole"),
    Column("images_per_s", "images/s", "number"),
    Column("paper_images_per_s", "paper", "number", printed=True),
    Column("speed_over_ft", "over ft", "ratio"),
    Column("paper_speed_over_ft", "paper", "ratio", printed=True),
    Column("peak_megabytes", "peak, MB", "whole"),
    Column("paper_megabytes", "paper", "whole", printed=True),
    Column("peak_over_ft", "over ft", "ratio"),
    Column("paper_peak_over_ft", "paper", "ratio", printed=True),
)


_PAPERS_NOTE = (
    "paper: on Food, LF's overall, on one V100; it does not say at which input size, and of FO's "
    "memory the last digit is unsure. Over ft in the block of equal batches: SNOW-128 over FT, "
    "both at 128; SNOW-256 has 2.66 and 0.32 over FT at its batch of 128. On the other four data "
    "sets the paper's speeds are within 3 % of these."
)


@dataclass(frozen=True)
class _Block:
    """Contenders that are measured beside each other.

    Attributes:
        name: Of their batches: each scheme's `own`, or `equal`.
        costing: With which they are measured.
        contenders: In order.
        papers: By contender, the paper's row that it stands beside. At batches of their own those
            are of the same batch; at one for all of SNOW-128, which the paper has beside FT at 128.
    """

    name: str
    costing: Costing
    contenders: Sequence[SchemeAtBatch]
    papers: dict[str, str]


def make_table8(study: Study, costing: Costing) -> tuple[TableReport, Figure]:
    """Measure training steps; nothing is trained.

    Args:
        study: Which schemes, image size and precision; its batch, if it has one, is that of the
            equal ones.
        costing: Which networks, and batches of schemes that have their own.
    """
    kept = MeasurementCache(study.output / "measured")
    rows: list[dict[str, Cell]] = []
    measured: dict[str, StepFigures] = {}
    for block in _blocks(study, costing):
        setups = {
            each.name: block.costing.setup(
                study.options(each.scheme, 0, batch_size=each.batch_size)
            )
            for each in block.contenders
        }
        alike = block.name == "equal"
        figures = measure_steps(setups, kept, costing.effort, study.say, alike=alike)
        rows += [_row(block, name, figures) for name in figures]
        measured |= {f"{block.name} {name}": value for name, value in figures.items()}
    if not costing.is_papers():
        papers = [column.key for column in _COLUMNS if column.printed]
        rows = [{**row, **dict.fromkeys(papers)} for row in rows]
    device = describe_device(default_device())
    notes = [
        speed_note(measured, study.image_size, str(device["device"])),
        *([_PAPERS_NOTE] if costing.is_papers() else []),
        *form_note(study),
    ]
    facts = {
        **costing.facts(),
        "image_size": study.image_size,
        "precision": study.precision,
        "delta": asdict(study.delta),
        **device,
    }
    title = "Table 8: speed and memory of training"
    report = TableReport("table8", title, _COLUMNS, rows, notes, facts)
    return report, _draw(report)


def _blocks(study: Study, costing: Costing) -> list[_Block]:
    """Return what is measured: at each scheme's own batch, unless one is given for all; and at one.

    A batch of its own that a scheme was given is of the first block alone.
    """
    equal = study.batch_size or EQUAL_BATCH
    alike = [SchemeAtBatch(scheme, scheme, equal) for scheme in study.schemes]
    at_equal = {"ft": "ft", "lf": "lf", "snow": "snow-128"}
    blocks = [_Block("equal", replace(costing, batches={}), alike, at_equal)]
    if study.batch_size is None or costing.batches:
        own = _at_given_batches(study.contenders(), costing)
        rows = {each.name: printed.row_at(each.scheme, each.batch_size) for each in own}
        papers = {name: row for name, row in rows.items() if row is not None}
        blocks.insert(0, _Block("own", costing, own, papers))
    return blocks


def _at_given_batches(contenders: Sequence[SchemeAtBatch], costing: Costing) -> list[SchemeAtBatch]:
    """Return the contenders at their batches; one that was given a batch stands at that alone."""
    found: dict[str, SchemeAtBatch] = {}
    for each in contenders:
        given = costing.batches.get(each.scheme)
        mine = each if given is None else SchemeAtBatch(each.scheme, each.scheme, given)
        found[mine.name] = mine
    return list(found.values())


def _row(block: _Block, name: str, figures: dict[str, StepFigures]) -> dict[str, Cell]:
    mine, base = figures[name], figures.get("ft")
    row = block.papers.get(name)
    same = row is not None and printed.RATES[row][0] == mine.batch
    shown = row is not None and (same or block.name == "equal")  # of other batches ratios alone
    speed, memory = (printed.training(row) if row is not None and shown else None) or (None, None)
    base_speed, base_memory = printed.TRAINING["ft"]["food"]
    return {
        "batches": block.name,
        "scheme": name,
        "batch": mine.batch,
        "images_per_s": mine.images_per_s,
        "paper_images_per_s": speed if same else None,
        "speed_over_ft": ratio(mine.images_per_s, base.images_per_s if base else None),
        "paper_speed_over_ft": ratio(speed, base_speed),
        "peak_megabytes": to_megabytes(mine.peak_bytes),
        "paper_megabytes": 1e3 * memory if memory is not None and same else None,
        "peak_over_ft": ratio(mine.peak_bytes, base.peak_bytes if base else None),
        "paper_peak_over_ft": ratio(memory, base_memory),
    }


def _draw(report: TableReport) -> Figure:
    blocks = list(dict.fromkeys(str(row["batches"]) for row in report.rows))
    panels = {"images_per_s": "training, images/s", "peak_megabytes": "peak memory, MB"}
    figure = new_figure(9.0, 3.0 * len(blocks))
    grid = figure.subplots(len(blocks), 2, squeeze=False)
    for line, block in zip(grid, blocks, strict=True):
        rows = [row for row in report.rows if row["batches"] == block]
        labels = [str(row["scheme"]) for row in rows]
        for axes, (key, label) in zip(line, panels.items(), strict=True):
            ours = {"ours": [row[key] for row in rows]}
            grouped_bars(axes, labels, ours, colours=(OURS,), form="{:.4g}")
            axes.set(ylabel=label, title=f"{block} batches")
            axes.tick_params(axis="x", labelsize=7)
    figure.suptitle(report.title, fontsize=10)
    return figure
