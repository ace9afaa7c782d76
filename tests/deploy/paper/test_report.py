from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from snow_deploy.paper.plots import grouped_bars, new_figure
from snow_deploy.paper.report import Column, TableReport

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.paper.report import Cell

COLUMNS = (
    Column("scheme", "scheme"),
    Column("accuracy", "accuracy", "share"),
    Column("paper", "paper", "millions", printed=True),
)
ROWS: list[dict[str, Cell]] = [
    {"scheme": "ft", "accuracy": 0.12345, "paper": 144.3},
    {"scheme": "lf", "accuracy": None, "paper": None},
]


def test_the_files_hold_what_was_found(tmp_path: Path) -> None:
    report = TableReport("table0", "Title", COLUMNS, ROWS, ["a note"], {"epochs": 3})
    figure = new_figure(4, 3)
    grouped_bars(figure.subplots(), ["ft", "lf"], {"ours": report.column("accuracy")})

    table, document, plot = report.write(tmp_path / "new", figure)

    with table.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"scheme": "ft", "accuracy": "0.12345", "paper": "144.3"},
            {"scheme": "lf", "accuracy": "", "paper": ""},
        ]
    content = json.loads(document.read_text(encoding="utf-8"))
    assert content["rows"] == ROWS
    assert content["facts"] == {"epochs": 3}
    assert content["notes"][0] == "a note"
    with Image.open(plot) as picture:
        picture.verify()
        assert picture.format == "PNG"
        assert picture.size == (600, 450)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "table0.csv",
        "table0.json",
        "table0.png",
    ]


def test_a_dash_is_explained_where_there_is_one() -> None:
    whole = TableReport("t", "T", COLUMNS, ROWS[:1])
    gaps = TableReport("t", "T", COLUMNS, ROWS)

    assert whole.cells() == [["scheme", "accuracy", "paper"], ["ft", "0.123", "144.30"]]
    assert list(whole.footnotes()) == []
    assert gaps.cells()[2] == ["lf", "–", "–"]
    ours, papers = sorted(gaps.footnotes())
    assert "not measured" in ours
    assert "prints no such figure" in papers


@pytest.mark.parametrize(("tasks", "rotation"), [(2, 0.0), (6, 90.0)])
def test_bars_say_their_values_where_there_is_one(tasks: int, rotation: float) -> None:
    axes = new_figure(4, 3).subplots()
    labels = [str(task) for task in range(tasks)]
    ours: list[Cell] = [0.5, *[None] * (tasks - 1)]
    spread: list[Cell] = [0.01, *[None] * (tasks - 1)]

    grouped_bars(axes, labels, {"a": ours, "b": ours}, {"a": spread}, form="{:.3f}")

    shown = [text for text in axes.texts if text.get_text()]
    assert [text.get_text() for text in shown] == ["0.500", "0.500"]
    assert {text.get_rotation() for text in shown} == {rotation}
