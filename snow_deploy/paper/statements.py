"""What sections 3.1 to 3.4 state, and whether the paper's tables and ours bear it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.paper.plots import OURS, PAPERS, grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.statement import TOLERANCE
from snow_deploy.paper.statement_list import STATEMENTS
from snow_deploy.paper.stored_tables import read_tables

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from snow_deploy.paper.statement import Statement
    from snow_deploy.paper.stored_tables import Tables

_COLUMNS = (
    Column("section", "section"),
    Column("statement", "statement"),
    Column("holds", "is"),
    Column("paper", "paper", "number", printed=True),
    Column("paper_tables", "its tables", "number", printed=True),
    Column("paper_agrees", "agree", printed=True),
    Column("ours", "ours", "number"),
    Column("agrees", "agree"),
    Column("why", "why, and where from"),
)

_HOLDS = {"least": "at least", "most": "at most", "more": "above", "less": "below"}


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
                "holds": _HOLDS[each.holds],
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
            f"agree: what is to be at least or at most the stated figure is so within "
            f"{100 * TOLERANCE:.0f} % of it; above and below have no such room. its "
            "tables: the same figure from the paper's own tables. "
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
    return f"ours: {table.circumstances(statement.batches)}"


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
