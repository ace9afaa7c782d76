"""Table 3: the data sets, their classes and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.paper import printed
from snow_deploy.paper.plots import grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.paper.study import Study

_COLUMNS = (
    Column("data", "data"),
    Column("classes", "classes", "whole"),
    Column("paper_classes", "paper", "whole", printed=True),
    Column("train", "train", "whole"),
    Column("paper_train", "paper", "whole", printed=True),
    Column("validation", "validation", "whole"),
    Column("test", "test", "whole"),
    Column("paper_test", "paper", "whole", printed=True),
)


def make_table3(study: Study) -> tuple[TableReport, Figure]:
    """Count the study's data sets, and set the paper's beside them; nothing is trained.

    A data set that is read by a reader of the paper's stands beside the paper's figures; what of
    the paper's is not given has a row of its own.
    """
    rows: list[dict[str, Cell]] = []
    for name, spec in study.data.items():
        splits = study.splits(name)
        row: dict[str, Cell] = {
            "data": name,
            "classes": len(splits.labels),
            "train": len(splits.train),
            "validation": None if splits.val is None else len(splits.val),
            "test": None if splits.test is None else len(splits.test),
        }
        known = printed.dataset(spec)
        rows.append({**row, **({} if known is None else _papers(known))})
    given = {printed.dataset(spec) for spec in study.data.values()}
    rows += [
        {"data": f"{printed.TITLES[data]} (paper)", **_papers(data)}
        for data in printed.DATA
        if data not in given
    ]
    notes = [
        (
            "train: what `train` learns from. The paper trains on DTD's training and validation "
            "pictures together, as dtd: does here."
        )
    ]
    title = "Table 3: data sets"
    report = TableReport("table3", title, _COLUMNS, rows, notes, {"data": dict(study.data)})
    figure = new_figure(max(5.0, 1.1 * len(rows)), 3.4)
    axes = figure.subplots()
    labels = [str(row["data"]) for row in rows]
    values = {
        "train": [row.get("train", row.get("paper_train")) for row in rows],
        "test": [row.get("test", row.get("paper_test")) for row in rows],
    }
    grouped_bars(axes, labels, values)
    axes.set(ylabel="pictures", title=title, yscale="log")
    return report, figure


def _papers(data: str) -> dict[str, Cell]:
    train, test = printed.PICTURES[data]
    classes = printed.CLASSES[printed.DATA.index(data)]
    return {"paper_classes": classes, "paper_train": train, "paper_test": test}
