"""What sections 3.1 to 3.4 state, and whether the paper's tables and ours bear it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from snow_deploy.paper import printed, statement_values
from snow_deploy.paper.plots import OURS, PAPERS, grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.stored_tables import read_tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from snow_deploy.paper.stored_tables import Tables

TOLERANCE: Final = 0.05
"""Of the stated figure: so far short of it still agrees."""


@dataclass(frozen=True)
class Statement:
    """One statement of the paper, as a figure.

    Attributes:
        section: Where it stands.
        text: What it says of the figure.
        says: The figure: as it is stated, or the bound that its words set.
        holds: Whether what is measured is to be that large at least, or at most.
        papers: The same from its own tables; None where only a figure shows it.
        ours: Function that reads the same from our tables; None where they lack it.
        table: The command whose table it is from.
        remark: Why its own tables, or other conditions, may give something else.
    """

    section: str
    text: str
    says: float
    holds: Literal["least", "most"]
    papers: float | None
    ours: Callable[[Tables], float | None]
    table: str
    remark: str = ""

    def agrees(self, value: float | None) -> str | None:
        """Tell whether a measured figure bears the statement out."""
        if value is None:
            return None
        slack = TOLERANCE * abs(self.says)
        least = self.holds == "least"
        fits = value >= self.says - slack if least else value <= self.says + slack
        return "yes" if fits else "no"


def _all() -> list[Statement]:
    """Return the statements in the paper's order."""
    values, snow = statement_values, printed.TRAINING["snow-256"]["car"]
    over = {name: snow[0] / printed.TRAINING[name]["car"][0] for name in ("ft", "mp", "pn")}
    at_128 = printed.TRAINING["snow-128"]["food"]
    ft = printed.TRAINING["ft"]["food"]
    subscribed = printed.SUBSCRIPTION_ACCURACIES
    serving, sizes = printed.SERVING, printed.PARAMETERS
    return [
        Statement(
            "3.1",
            "SNOW-256's training throughput over the faster of FT and MP, up to",
            2.4,
            "least",
            min(over["ft"], over["mp"]),
            values.training_over(("ft", "mp")),
            "table8",
            "2.44 is SNOW-128 over FT at equal batch",
        ),
        Statement(
            "3.1",
            "SNOW-256's training throughput over PN's",
            5.2,
            "least",
            over["pn"],
            values.training_over(("pn",)),
            "table8",
        ),
        Statement(
            "3.1",
            "MP is slower than FT: its training throughput over FT's, below",
            1.0,
            "most",
            printed.TRAINING["mp"]["food"][0] / ft[0],
            values.training_of("mp", "ft"),
            "table8",
            "Table 8 has MP at 96 faster than FT at 128, on every data set",
        ),
        Statement(
            "3.1",
            "less memory for a given batch: SNOW's over FT's",
            at_128[1] / ft[1],
            "most",
            at_128[1] / ft[1],
            values.equal_memory,
            "table8",
            "stated without a figure; Table 8 has both at a batch of 128",
        ),
        Statement(
            "3.1",
            "FO loses to SNOW-256, points, up to",
            31.8,
            "least",
            values.most_behind(printed.ACCURACIES, "fo"),
            values.behind("fo"),
            "table7",
            "on Car; on DTD and Action FO loses 1.6 and 2.1",
        ),
        Statement(
            "3.1",
            "FE loses to SNOW-256, points, up to",
            9.7,
            "least",
            values.most_behind(printed.ACCURACIES, "fe"),
            values.behind("fe"),
            "table7",
            "on Car; on Food and DTD FE loses 1.8 and 0.9",
        ),
        Statement(
            "3.1",
            "all converge around epoch",
            60.0,
            "most",
            None,
            values.converged,
            "figure6",
            "of 180 epochs, with a tenth of the rate every 30",
        ),
        Statement(
            "3.2",
            "K = N/8 is the best: its top-1 over the best other K's, points",
            0.0,
            "least",
            values.best_over(printed.SENSITIVITY["k"], 8),
            values.sensitivity("k", "N/8"),
            "table4",
        ),
        Statement(
            "3.2",
            "a delta of M/8 is the best: its top-1 over the best other size's, points",
            0.0,
            "least",
            values.best_over(printed.SENSITIVITY["width"], 8),
            values.sensitivity("width", "M/8"),
            "table4",
        ),
        Statement(
            "3.2",
            "σ² = 0.001 is the best: its top-1 over the best other σ²'s, points",
            0.0,
            "least",
            values.best_over(printed.SENSITIVITY["sigma"], 1e-3),
            values.sensitivity("sigma2", "0.001"),
            "table4",
        ),
        Statement(
            "3.3",
            "FO serves fastest: its throughput over the next one's",
            1.0,
            "least",
            serving["fo"] / max(v for name, v in serving.items() if name != "fo"),
            values.serving_over_rest("fo"),
            "table5",
        ),
        Statement(
            "3.3",
            "FO has the worst accuracy on all data sets: exceptions",
            0.0,
            "most",
            values.not_worst(printed.ACCURACIES, "fo"),
            values.exceptions("fo"),
            "table7",
            "Table 7 has FT below FO on DTD, and FE and FT below FO on Action",
        ),
        Statement(
            "3.3",
            "SNOW serves comparably with FE: its throughput over FE's",
            serving["snow"] / serving["fe"],
            "least",
            serving["snow"] / serving["fe"],
            values.serving_of("snow", "fe"),
            "table5",
        ),
        Statement(
            "3.3",
            "SNOW's throughput of serving over FT's, separate models",
            serving["snow"] / serving["ft"],
            "least",
            serving["snow"] / serving["ft"],
            values.serving_of("snow", "ft"),
            "table5",
            "six networks that become one are not much more than six times as fast by themselves",
        ),
        Statement(
            "3.3",
            "SNOW has slightly more parameters than FE: over FE's",
            sizes["snow"] / sizes["fe"],
            "most",
            sizes["snow"] / sizes["fe"],
            values.parameters_of("snow", "fe"),
            "table5",
        ),
        Statement(
            "3.4",
            "selections stabilise: channels new in the last epoch over those in the first, below",
            0.5,
            "most",
            None,
            values.stabilised,
            "figure5",
            "stated without a figure; the bound is ours",
        ),
        Statement(
            "3.4",
            "channel pooling is the most accurate on most data sets: share of them",
            0.5,
            "least",
            values.share_best({k: dict(v) for k, v in subscribed.items()}, "pooling"),
            values.pooling_best,
            "table6",
            "Food by 0.01 points, Car and CUB",
        ),
        Statement(
            "3.4",
            "1x1 convolution's top-1 below channel pooling's, points",
            6.72,
            "least",
            subscribed["pooling"]["car"] - subscribed["conv1x1"]["car"],
            values.conv_behind,
            "table6",
            "on Car; on DTD the convolution is 2.4 ahead",
        ),
        Statement(
            "3.4",
            "channel pooling's serving over attention's",
            4.3,
            "least",
            printed.SUBSCRIPTION_SERVING["pooling"] / printed.SUBSCRIPTION_SERVING["attention"],
            values.pooling_over_attention,
            "table6",
        ),
        Statement(
            "3.4",
            "fewer parameters than attention, percent",
            84.2,
            "least",
            100
            * (
                1
                - printed.SUBSCRIPTION_PARAMETERS["pooling"]
                / printed.SUBSCRIPTION_PARAMETERS["attention"]
            ),
            values.fewer_parameters,
            "table6",
            "Table 6's counts are met by no reading that was tried",
        ),
    ]


STATEMENTS: Final = tuple(_all())

_COLUMNS = (
    Column("section", "section"),
    Column("statement", "statement"),
    Column("paper", "paper", "number", printed=True),
    Column("paper_tables", "its tables", "number", printed=True),
    Column("paper_agrees", "agree", printed=True),
    Column("ours", "ours", "number"),
    Column("agrees", "agree"),
    Column("why", "why, and where from"),
)


def make_statements(output: Path) -> tuple[TableReport, Figure]:
    """Set each statement beside the paper's own tables and ours; nothing is measured.

    Args:
        output: Folder in which `table4` to `table8`, `figure5` and `figure6` have left theirs.
    """
    tables = read_tables(output)
    rows: list[dict[str, Cell]] = []
    for each in STATEMENTS:
        ours = each.ours(tables)
        rows.append(
            {
                "section": each.section,
                "statement": each.text,
                "paper": each.says,
                "paper_tables": each.papers,
                "paper_agrees": each.agrees(each.papers),
                "ours": ours,
                "agrees": each.agrees(ours),
                "why": "; ".join(part for part in (each.remark, _from(tables, each, ours)) if part),
            }
        )
    notes = [
        (
            f"agree: as large as stated (or, where it says below or fewer, as small), within "
            f"{100 * TOLERANCE:.0f} %. its tables: the same figure from the paper's own tables. "
            f"ours: from the tables in {output}."
        )
    ]
    title = "What sections 3.1 to 3.4 state"
    read = {name: table.facts for name, table in tables.items()}
    report = TableReport("statements", title, _COLUMNS, rows, notes, {"tables": read})
    return report, _draw(report)


def _from(tables: Tables, statement: Statement, ours: float | None) -> str:
    """Say on what ours was measured, or what to run for it."""
    table = tables.get(statement.table)
    if table is None:
        return f"not measured here: run `snow-deploy paper {statement.table}`"
    if ours is None:
        return f"{statement.table} was run without what it takes"
    return f"ours: {table.circumstances()}"


def _draw(report: TableReport) -> Figure:
    """Draw ours and the paper's tables over what is stated."""
    rows = [row for row in report.rows if row["paper"] and row["ours"] is not None]
    figure = new_figure(9.0, 3.8)
    axes = figure.subplots()
    labels = [str(number + 1) for number, row in enumerate(report.rows) if row in rows]
    values: dict[str, list[Cell]] = {
        name: [_over(row[key], row["paper"]) for row in rows]
        for name, key in (("ours", "ours"), ("paper's tables", "paper_tables"))
    }
    grouped_bars(axes, labels, values, colours=(OURS, PAPERS))
    axes.axhline(1.0, color="#444444", lw=0.8)
    axes.set(xlabel="statement", ylabel="measured over stated", title=report.title)
    return figure


def _over(value: Cell, stated: Cell) -> Cell:
    return None if value is None else float(value) / float(stated or 1)
