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
from snow_deploy.cli.paper_options import COMPARED, SCHEMES
from snow_deploy.data import open_data
from snow_deploy.models.source import Source
from snow_deploy.paper import study
from snow_deploy.paper.measure.networks import random_weights
from snow_deploy.training.store import Store
from snow_runtime.pictures.preprocessing import normalise, resize_and_crop

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    *(f"table{number}" for number in range(1, 10)),
    *("figure4", "figure5", "figure6"),
    *("common-channels", "pooling-variants", "settling", "shapes", "statements", "tune"),
]


def test_the_tables_and_figures_are_there() -> None:
    assert sorted(command.commands) == sorted(NAMES)
    assert SCHEMES == study.SCHEMES
    assert COMPARED == study.COMPARED


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
        ("table7", "Missing option '--data'"),
        ("table5 --schemes snow,xx", "'xx' is no scheme"),
        ("table8 --batch ft", "is not such as ft=128"),
        ("table5 --classes 3,1", "a value below 2"),
        ("shapes --k 4,4", "a value twice"),
        ("table7 --data a=demo:shape --seeds 0,x", "is not a list such as 1,2,3"),
        ("table5 --rounds 0", "0 is not in the range x>=1"),
        ("table8 --steps 0", "0 is not in the range x>=1"),
        ("table8 --batch ft=4 --batch ft=8", "--batch ft=8 is given twice"),
        ("table8 --schemes snow --batch ft=8", "is of a scheme that is not compared"),
        ("table6 --epochs 3", "--epochs is of training, and without --data nothing is trained"),
        ("shapes --weights none.pth", "Give --data NAME=KIND:PATH, or leave --weights out"),
        ("shapes --recipe steady", "--recipe is of training, and without --data nothing"),
        ("table5 --precision bf16", "No such option"),
        ("tune --data a=demo:shape --recipe steady", "No such option"),
        ("tune --data a=demo:shape --schemes ft,lf", "lf learns with what is chosen for ft"),
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


@pytest.mark.slow
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

    first = CliRunner().invoke(main, ["paper", "table9", *options, "--no-speed"])
    again = CliRunner().invoke(main, ["paper", "table9", *options, "--no-speed"])
    figure = CliRunner().invoke(main, ["paper", "common-channels", *options])

    assert first.exit_code == 0, first.output
    assert len(store.tasks()) == 6
    rows = check_files(tmp_path / "out", "table9")
    assert [row["scheme"] for row in rows] == ["lf"] * 4 + ["snow"] * 2 + ["lf (paper)"] * 10
    assert again.stderr.count("done before") == 6
    (last,) = (
        name
        for name in store.tasks()
        if name.startswith("digit") and store.load_task(name).previous_tasks
    )
    assert rows[1]["shape_accuracy"] == accuracy_by_hand(store, last, "demo:shape?test=12&size=64")
    table = first.stdout[first.stdout.index("Table 9") :]
    assert again.stdout == table
    assert figure.exit_code == 0, figure.output
    assert figure.stderr.count("done before") == 2
    check_files(tmp_path / "out", "common-channels")


def test_data_that_is_not_there_is_told_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after weights were fetched, nor after the data set before it was trained on."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "downloads"))
    data = ["--data", "a=demo:shape?train=16&test=12", "--data", f"b=imagefolder:{tmp_path}/typo"]

    result = CliRunner().invoke(main, ["paper", "table7", *data, "-o", str(tmp_path / "out")])

    assert result.exit_code == 1
    assert f"{tmp_path}/typo" in result.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "downloads").exists()


def test_a_source_that_is_not_there_is_told_before_data_is_opened(tmp_path: Path) -> None:
    missing = ["--data", f"a=imagefolder:{tmp_path}/typo", "--weights", f"{tmp_path}/typo.pth"]

    result = CliRunner().invoke(main, ["paper", "table7", *missing, "-o", str(tmp_path / "out")])

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


def test_recipes_are_chosen_and_then_used(tmp_path: Path) -> None:
    """The whole way, for real: fo and snow, two values of two settings."""
    store = Store(tmp_path / "store")
    store.put_source(random_weights("squeezenet1_1", 7))
    options = [
        *("--data", "shape=demo:shape?train=60&test=12&size=32", "--schemes", "fo"),
        *("--workers", "0", "--store", str(store.root), "-o", str(tmp_path / "out")),
    ]
    short = ["--epochs", "1", "--batch-size", "8", "--image-size", "32", "--precision", "fp32"]
    few = ["--rates", "0.1", "--classifier-rates", "0.01,0.03", "--crops", "0.5"]

    chosen = CliRunner().invoke(main, ["paper", "tune", *options, *short, *few])
    tuned = ["--tuned", str(tmp_path / "out" / "tuned.json")]
    table = CliRunner().invoke(main, ["paper", "table7", *options, *tuned])
    other = CliRunner().invoke(main, ["paper", "table7", *options, *tuned, "--epochs", "2"])
    both = CliRunner().invoke(main, ["paper", "table7", *options, *tuned, "--recipe", "steady"])
    options[1] = "shape=demo:shape?train=64&test=12&size=32"
    changed = CliRunner().invoke(main, ["paper", "table7", *options, *tuned])

    assert chosen.exit_code == 0, chosen.output
    (row,) = check_files(tmp_path / "out", "tune")
    assert row["trials"] == 3  # its head is a convolution, which cannot begin as a regression
    assert row["start"] == "random"
    assert table.exit_code == 0, table.output
    (name,) = store.tasks()
    record = store.load_task(name)
    assert (record.options.epochs, record.options.batch_size) == (1, 8)
    assert record.options.recipe.lr in {0.01, 0.03}
    (shown,) = check_files(tmp_path / "out", "table7")
    assert shown["shape_accuracy"] == record.metrics["accuracy"]
    assert shown["shape_accuracy_top5"] == record.metrics["accuracy_top5"]
    assert other.exit_code == 2
    assert "--epochs is 2, but the recipes of" in " ".join(other.stderr.split())
    assert both.exit_code == 2
    assert changed.exit_code == 1
    assert "fo was chosen on other training pictures than shape has now" in " ".join(
        changed.stderr.split()
    )


def test_the_papers_data_sets_need_no_data(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["paper", "table3", "-o", str(tmp_path)])

    assert result.exit_code == 0, result.output
    assert [row["paper_train"] for row in check_files(tmp_path, "table3")] == [
        75_750,
        3_760,
        4_000,
        8_144,
        5_994,
    ]


@pytest.mark.parametrize("command", ["table8 --batch-size 8 --steps 1 --rounds 1", "table5"])
def test_the_cost_of_a_form_is_measured_without_a_recipe(tmp_path: Path, command: str) -> None:
    options = f"{command} --source resnet18 --schemes ft,snow --image-size 32"
    options += " --no-speed --classes 3,4" if command == "table5" else ""
    form = ["--from-stage", "4", "--blocks", "first"]

    def snow(*more: str) -> dict[str, Any]:
        result = CliRunner().invoke(
            main, ["paper", *options.split(), *more, "-o", str(tmp_path / str(len(more)))]
        )
        assert result.exit_code == 0, result.output
        *_, row = check_files(tmp_path / str(len(more)), command.partition(" ")[0])
        return row

    whole, small, taps = snow(), snow(*form), snow(*form, "--classifier-reads", "taps")

    if command == "table5":
        counts = [row["parameters_millions"] for row in (whole, small, taps)]
        assert len(set(counts)) == 3
    else:
        assert whole["peak_megabytes"] > small["peak_megabytes"]
        assert taps["peak_megabytes"] != small["peak_megabytes"]


def test_a_form_of_the_delta_is_trained_by_recipes_for_it(tmp_path: Path) -> None:
    """Real training: the tuned file says the form, and `table7` need not be told again."""
    store = Store(tmp_path / "store")
    store.put_source(random_weights("resnet18", 7))
    out = tmp_path / "out"
    options = [
        *("--data", "shape=demo:shape?train=60&test=12&size=32", "--schemes", "snow"),
        *("--workers", "0", "--store", str(store.root), "-o", str(out)),
    ]
    short = ["--epochs", "1", "--batch-size", "8", "--image-size", "32", "--precision", "fp32"]
    few = ["--rates", "0.1", "--classifier-rates", "0.01", "--crops", "0.5"]
    form = ["--from-stage", "4", "--blocks", "first", "--classifier-reads", "taps"]

    chosen = CliRunner().invoke(main, ["paper", "tune", *options, *short, *few, *form])
    tuned = ["--tuned", str(out / "tuned.json")]
    table = CliRunner().invoke(main, ["paper", "table7", *options, *tuned])
    other = CliRunner().invoke(main, ["paper", "table7", *options, *tuned, "--blocks", "2"])

    assert chosen.exit_code == 0, chosen.output
    assert table.exit_code == 0, table.output
    (name,) = store.tasks()
    delta = store.load_task(name).options.delta
    assert (delta.from_stage, delta.blocks, delta.classifier_reads) == (4, 1, "taps")
    assert "deltas are not the paper's: blocks 1, from-stage 4," in " ".join(table.output.split())
    assert other.exit_code == 2
    assert "--blocks is 2, but the recipes of" in " ".join(other.stderr.split())
