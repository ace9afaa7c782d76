from __future__ import annotations

import csv
import json
import statistics
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from snow_deploy.cli import main
from snow_deploy.cli.paper import command
from snow_deploy.cli.paper_options import SCHEMES
from snow_deploy.data import open_data
from snow_deploy.models.source import Source
from snow_deploy.paper import study
from snow_deploy.paper.measure.networks import random_weights
from snow_deploy.training.store import Store
from snow_runtime.pictures.preprocessing import normalise, resize_and_crop

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [*(f"table{number}" for number in range(3, 10)), "figure4", "figure5", "figure6"]


def test_the_tables_and_figures_are_there() -> None:
    assert sorted(command.commands) == sorted(NAMES)
    assert SCHEMES == study.SCHEMES


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_help(name: str) -> None:
    made = command.commands[name]

    assert made.help
    for parameter in made.params:
        assert isinstance(parameter, click.Option)
        assert parameter.help, f"{name}: {parameter.opts} has no help text"
    assert CliRunner().invoke(main, ["paper", name, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("table3", "Missing option '--data'"),
        ("table5 --schemes snow,xx", "'xx' is no scheme"),
        ("table5 --batch ft", "is not such as ft=128"),
        ("table5 --classes 3,1", "a value below 2"),
        ("table7 --k 4,4", "a value twice"),
        ("table3 --data a=demo:shape --seeds 0,x", "is not a list such as 1,2,3"),
        ("table5 --rounds 0", "0 is not in the range x>=1"),
        ("table5 --steps 0", "0 is not in the range x>=1"),
        ("table5 --batch ft=4 --batch ft=8", "--batch ft=8 is given twice"),
        ("table5 --schemes snow --batch ft=8", "is of a scheme that is not compared"),
        ("table6 --batch ft=8", "is of a scheme that is not compared; give one for some of snow"),
        ("table6 --epochs 3", "--epochs is of training, and without --data nothing is trained"),
        ("table7 --weights none.pth", "Give --data NAME=KIND:PATH, or leave --weights out"),
        ("table7 --recipe steady", "--recipe is of training, and without --data nothing"),
        ("table8 --precision bf16", "No such option"),
    ],
)
def test_options_that_cannot_be_read(arguments: str, message: str) -> None:
    result = CliRunner().invoke(main, ["paper", *arguments.split()])

    assert result.exit_code == 2
    assert message in result.output


def check_files(folder: Path, name: str) -> list[dict[str, Any]]:
    """Check that the three files agree; return the rows."""
    document = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(document["rows"])
    with Image.open(folder / f"{name}.png") as picture:
        picture.verify()
    rows: list[dict[str, Any]] = document["rows"]
    return rows


def accuracy_by_hand(store: Store, name: str, data: str) -> float:
    """Return how often the only older head of an LF network is right."""
    record = store.load_task(name)
    network = record.build(Source(store.source_weights()))
    pictures = open_data(data).final[1]
    planes = [
        normalise(resize_and_crop(pictures.load(index), record.preprocessing), record.preprocessing)
        for index in range(len(pictures))
    ]
    with torch.no_grad():
        pooled = network.get_submodule("network")(torch.from_numpy(np.stack(planes)))
        (head,) = network.get_submodule("older").children()
        answers = head(None, {"head": pooled}).argmax(1).tolist()
    right = [answer == pictures.target(index) for index, answer in enumerate(answers)]
    return statistics.fmean(right)


def test_a_table_on_real_runs_and_then_from_what_is_there(tmp_path: Path) -> None:
    """The whole way: two data sets, LF through both, SNOW on each; then again without training."""
    store = Store(tmp_path / "out" / "store")
    store.put_source(random_weights("squeezenet1_1", 7))
    options = [
        *("--data", "shape=demo:shape?train=8&test=12&size=64"),
        *("--data", "digit=demo:digit?train=8&test=12&size=64"),
        *["--epochs", "1", "--batch-size", "4", "--image-size", "64"],
        *["--precision", "fp32", "--workers", "0"],
        *("-o", str(tmp_path / "out")),
    ]

    first = CliRunner().invoke(main, ["paper", "table9", *options])
    again = CliRunner().invoke(main, ["paper", "table9", *options])
    figure = CliRunner().invoke(main, ["paper", "figure6", *options])

    assert first.exit_code == 0, first.output
    assert len(store.tasks()) == 4
    rows = check_files(tmp_path / "out", "table9")
    assert [row["scheme"] for row in rows] == ["lf", "lf", "snow", "snow"]
    assert again.stderr.count("done before") == 4
    (last,) = (name for name in store.tasks() if store.load_task(name).previous_tasks)
    assert rows[1]["shape_accuracy"] == accuracy_by_hand(store, last, "demo:shape?test=12&size=64")
    table = first.stdout[first.stdout.index("Table 9") :]
    assert again.stdout == table
    assert figure.exit_code == 0, figure.output
    assert figure.stderr.count("done before") == 2
    check_files(tmp_path / "out", "figure6")


def test_data_that_is_not_there_is_told_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after weights were fetched, nor after the data set before it was trained on."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "downloads"))
    data = ["--data", "a=demo:shape?train=16&test=12", "--data", f"b=imagefolder:{tmp_path}/typo"]

    result = CliRunner().invoke(main, ["paper", "table3", *data, "-o", str(tmp_path / "out")])

    assert result.exit_code == 1
    assert f"{tmp_path}/typo" in result.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "downloads").exists()


def test_a_source_that_is_not_there_is_told_before_data_is_opened(tmp_path: Path) -> None:
    missing = ["--data", f"a=imagefolder:{tmp_path}/typo", "--weights", f"{tmp_path}/typo.pth"]

    result = CliRunner().invoke(main, ["paper", "table3", *missing, "-o", str(tmp_path / "out")])

    assert result.exit_code == 1
    assert f"there is no weights file {tmp_path}/typo.pth" in result.stderr


def test_a_count_needs_neither_data_nor_weights(tmp_path: Path) -> None:
    options = "--source squeezenet1_1 --source-classes 7 --classes 3,3 --no-speed"
    schemes = "--schemes fo,ft,snow"

    result = CliRunner().invoke(
        main, ["paper", "table5", *options.split(), *schemes.split(), "-o", str(tmp_path)]
    )

    assert result.exit_code == 0, result.output
    fo, ft, _ = check_files(tmp_path, "table5")
    assert ft["parameters_millions"] > 2 * fo["parameters_millions"]
    assert "it prints no such figure" in result.output
