"""`snow-deploy fit --features`: from what `score` wrote, the same readouts as from the photos."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("scipy")
pytest.importorskip("threadpoolctl")
pytest.importorskip("onnxruntime")
pytest.importorskip("pyarrow")

from snow_deploy.cli import main
from snow_runtime.readout.file import ReadoutFile
from tests.runtime.readout.graphs import feature_graph
from tests.runtime.score.jobs import run_job

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (200, 50, 40)}


def fit(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fit", *map(str, arguments)])


def same(one: Path, other: Path) -> bool:
    """Tell whether two readouts are the same but for where they lie."""
    first, second = ReadoutFile.read(one), ReadoutFile.read(other)
    return (
        first.facts == second.facts
        and np.array_equal(first.weight, second.weight)
        and np.array_equal(first.bias, second.bias)
    )


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Draw photos, one of them broken and one of them twice, and score them with features."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(7):
            pixels = (np.array(colour) + rng.normal(0, 60, (12, 10, 3))).clip(0, 255).astype("u1")
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    (tmp_path / "photos" / "red" / "0.png").write_bytes(b"none")
    twice = (tmp_path / "photos" / "blue" / "1.png").read_bytes()
    (tmp_path / "photos" / "blue" / "2.png").write_bytes(twice)
    graph = feature_graph(tmp_path / "snow.onnx")
    run_job(graph.path, ["photos"], tmp_path / "scores", features=True, shard_rows=5)
    return tmp_path


def table(path: Path, columns: dict[str, list[str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def ids(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in (folder / "photos").rglob("*.png"))


def test_a_readout_from_scores_is_the_one_from_photos(scored: Path) -> None:
    by_photos = fit("photos", "--model", "snow.onnx", "-o", "a/x.readout")
    by_scores = fit("photos", "--features", "scores", "-o", "b/x.readout")

    assert by_photos.exit_code == by_scores.exit_code == 0, by_scores.output
    assert same(scored / "a" / "x.readout", scored / "b" / "x.readout")
    assert "1 pictures could not be read, such as photos/red/0.png" in by_scores.stderr
    assert "1 pictures have the features and label of others" in by_scores.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_a_table_of_labels_gives_a_readout_for_each_column(scored: Path, processes: int) -> None:
    names = ids(scored)
    colour = [name.split("/")[1] for name in names]
    table(
        scored / "labels.csv",
        {
            "id": names,
            "colour": colour,
            "warm": ["yes" if each == "red" else "no" for each in colour],
            "few": ["" if number > 3 else str(number % 2) for number in range(len(names))],
            "one": ["x"] * len(names),
        },
    )
    fit("photos", "--model", "snow.onnx", "-o", "colour.readout")

    found = fit(
        *("--features", "scores", "--labels", "labels.csv", "-o", "all"),
        *("--processes", processes, "--json"),
    )

    assert found.exit_code == 1  # `one` has one label only
    document = json.loads(found.stdout)
    assert list(document["tasks"]) == ["colour", "warm", "few"]
    assert list(document["failures"]) == ["one"]
    assert document["tasks"]["colour"]["pictures"] == 19
    assert document["tasks"]["few"]["pictures"] == 4  # a copy under another label counts too
    assert same(scored / "all" / "colour.readout", scored / "colour.readout")
    assert {path.name for path in (scored / "all").iterdir()} == {
        f"{name}.readout" for name in ("colour", "warm", "few")
    }


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"id": ["a"]}, "one for each task"),
        ({"name": ["a"], "x": ["b"]}, "the columns name, x, expected `id`"),
        ({"id": ["a", "a"], "x": ["b", "c"]}, "Line 3 of labels.csv: a is there twice"),
        ({"id": ["", "a"], "x": ["b", "c"]}, "the id is empty"),
        ({"id": ["a"], "X y": ["b"]}, "cannot be called 'X y'"),
        (
            {"id": ["u", "v", "w", "q"], "x": ["1", "2", "1", "2"]},
            "None of the 4 labelled pictures",
        ),
    ],
)
def test_a_table_that_cannot_be_used_says_why(
    scored: Path, columns: dict[str, list[str]], says: str
) -> None:
    table(scored / "labels.csv", columns)

    found = fit("--features", "scores", "--labels", "labels.csv", "-o", "all")

    assert found.exit_code == 1
    assert says in found.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "x.readout"], "Missing argument 'PHOTOS...'"),
        (["photos", "-o", "x.readout", "--processes", "2"], "are for tasks on --features"),
        (["photos", "-o", "x", "--features", "scores", "--labels", "l.csv"], "and not both"),
        (["photos", "-o", "x", "--features", "scores", "--model", "m"], "leave --model"),
        (["-o", "x", "--features", "scores", "--labels", "l.csv", "--name", "y"], "leave --name"),
        (["photos", "-o", "x", "--features", "scores", "--ray", "local"], "many tasks of --labels"),
        (["photos", "-o", "photos"], "expected"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    scored: Path, arguments: list[str], says: str
) -> None:
    found = fit(*arguments)

    assert found.exit_code == 2
    assert says in found.stderr
    assert not list(scored.glob("*.readout"))


def test_scores_without_features_are_refused(scored: Path) -> None:
    run_job(scored / "snow.onnx", ["photos"], scored / "plain")
    (scored / "empty").mkdir()

    plain = fit("photos", "--features", "plain", "-o", "x.readout")
    empty = fit("photos", "--features", "empty", "-o", "x.readout")

    assert "Score the pictures with that option" in plain.stderr
    assert "has no parts" in empty.stderr
    assert plain.exit_code == empty.exit_code == 1

    part = fit("photos", "--features", "scores/part-000000.parquet", "-o", "x.readout")
    assert "Name a folder that this user may read." in part.stderr
    assert part.exit_code == 1
