"""A table: on the terminal, as CSV and as JSON, with a plot beside it."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

Form = Literal["text", "whole", "share", "fine share", "millions", "number", "ratio"]
Cell = str | float | int | None

_DASH = "–"
_FORMATS: dict[Form, str] = {
    "whole": "{:.0f}",
    "share": "{:.3f}",
    "fine share": "{:.4f}",
    "millions": "{:.2f}",
    "number": "{:.4g}",
    "ratio": "{:.2f}×",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: Key in CSV, JSON and the rows, which names the unit.
        heading: Heading on the terminal.
        form: How a number is written there.
        printed: Whether it holds the paper's figures.
    """

    key: str
    heading: str
    form: Form = "text"
    printed: bool = False


@dataclass(frozen=True)
class TableReport:
    """A table and what it depends on.

    Attributes:
        name: `table3`, the name of its files.
        title: One line.
        columns: Columns in order.
        rows: Cells by the columns' keys; None is printed as a dash.
        notes: Lines below the table.
        facts: JSON values; what the figures depend on.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def cells(self) -> list[list[str]]:
        """Return the heading and the rows as text."""
        body = [
            [_text(row.get(column.key), column) for column in self.columns] for row in self.rows
        ]
        return [[column.heading for column in self.columns], *body]

    def footnotes(self) -> Iterator[str]:
        """Yield the lines below the table, with what a dash means where there is one."""
        yield from self.notes
        empty = [c for c in self.columns if any(row.get(c.key) is None for row in self.rows)]
        if any(column.printed for column in empty):
            yield (
                f"{_DASH} in a column of the paper: it prints no such figure, or one of other "
                "networks."
            )
        if any(not column.printed for column in empty):
            yield f"{_DASH} elsewhere: not measured in this run, or it does not apply."

    def column(self, key: str) -> list[Cell]:
        """Return one column's cells."""
        return [row.get(key) for row in self.rows]

    def write(self, folder: Path, figure: Figure) -> list[Path]:
        """Write the plot, the CSV and, last, the JSON; each is complete or absent.

        Returns:
            The files.
        """
        folder.mkdir(parents=True, exist_ok=True)
        plot, table, document = (folder / f"{self.name}.{end}" for end in ("png", "csv", "json"))
        with atomic_write(plot) as file:
            figure.savefig(file, format="png", dpi=150)
        keys = [column.key for column in self.columns]
        with atomic_write(table, "w") as file:
            writer = csv.DictWriter(file, keys, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        with atomic_write(document, "w") as file:
            content = {**asdict(self), "notes": list(self.footnotes())}
            json.dump(content, file, indent=1, ensure_ascii=False)
        return [table, document, plot]


def _text(cell: Cell, column: Column) -> str:
    if cell is None:
        return _DASH
    return str(cell) if column.form == "text" else _FORMATS[column.form].format(cell)
