from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from snow_deploy.cli.predict import command
from snow_runtime import ConfidenceEntry, GraphError, load, load_image

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from snow_runtime import Manifest
    from tests.runtime.conftest import Graph, MakeGraph


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for index, colour in enumerate(["red", "green"]):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (20, 30), colour).save(path)
        paths.append(path)
    return paths


def run(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_every_photo_and_task_is_printed(graph: Graph, photos: list[Path]) -> None:
    result = run(graph.path, *photos, "--top", 2, "--threads", 1)
    assert result.exit_code == 0
    with load(graph.path) as model:
        for photo in photos:
            assert str(photo) in result.stdout
            for name, answer in model(load_image(photo)).items():
                line = "   ".join(f"{label} {share:.1%}" for label, share in answer.top(2))
                assert f"{name:<5}  {line}" in result.stdout


@pytest.mark.parametrize("top", [1, 3, 9])
def test_of_several_labels_all_that_are_present_are_printed(
    make_graph: MakeGraph, with_tasks: Any, photos: list[Path], top: int
) -> None:
    graph = make_graph(manifest=with_tasks(answers="several"), scale=2.0)

    lines = run(graph.path, *photos, "--top", top).stdout.splitlines()

    with load(graph.path) as model:
        for number, photo in enumerate(photos):
            answer = model(load_image(photo))["food"]
            line = lines[3 * number + 1].removeprefix("  food   ")
            shown = {part.strip("()"): part[0] != "(" for part in line.split("   ")}
            present = {f"{label} {share:.1%}" for label, share in answer.present()}
            assert {text for text, here in shown.items() if here} == present
            assert len(shown) == max(len(present), min(top, len(answer.labels)))


def test_json_is_one_list_in_the_photos_order(graph: Graph, photos: list[Path]) -> None:
    result = run(graph.path, *photos, "--json", "--top", 1)
    documents = json.loads(result.stdout)
    assert [document["photo"] for document in documents] == list(map(str, photos))
    with load(graph.path) as model:
        reference = model(load_image(photos[0])).to_dict(top=1)
    assert documents[0]["tasks"] == reference["tasks"]
    assert documents[0]["latency_ms"] > 0


def test_three_labels_are_listed_unless_told(graph: Graph, photos: list[Path]) -> None:
    documents = json.loads(run(graph.path, photos[0], "--json").stdout)
    assert len(documents[0]["tasks"]["food"]["top"]) == 3
    assert len(documents[0]["tasks"]["birds"]["top"]) == 2


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_an_unreadable_photo_is_named_and_the_others_answered(
    graph: Graph,
    photos: list[Path],
    tmp_path: Path,
    option: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken, missing = tmp_path / "broken.jpg", tmp_path / "none.jpg"
    broken.write_text("not a picture")
    order = [graph.path, photos[0], broken, missing, photos[1]]
    exit_code = command.main([*map(str, order), *option], standalone_mode=False)
    out, err = capsys.readouterr()
    assert exit_code == 1
    assert err.count("error: ") == 2
    assert str(broken) in err
    assert str(missing) in err
    assert "broken.jpg" not in out
    assert all(str(photo) in out for photo in photos)


def test_a_graph_that_cannot_be_loaded_is_left_to_the_command_line(photos: list[Path]) -> None:
    result = run("none.onnx", photos[0])
    assert isinstance(result.exception, GraphError)


@pytest.mark.parametrize("arguments", [[], ["graph.onnx"], ["g", "p", "--top", "0"]])
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_help_needs_nothing_heavy() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("MODEL", "PHOTOS", "--top", "--json"))


def test_it_runs_without_torch(
    graph: Graph, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "torchvision", "lightning", "onnx", "rich"):
        monkeypatch.setitem(sys.modules, name, None)
    result = run(graph.path, *photos, "--json")
    assert result.exit_code == 0, result.output
    shares = [each["probability"] for each in json.loads(result.stdout)[0]["tasks"]["birds"]["top"]]
    assert np.isclose(sum(shares), 1, atol=1e-5)


def test_an_unsure_answer_is_unknown_unless_nobody_wants_to_know(
    make_graph: MakeGraph, manifest: Manifest, photos: list[Path]
) -> None:
    entry = ConfidenceEntry(20.0, 100, "validation", 0.9, 0.99)
    food, birds = manifest.tasks
    graph = make_graph(manifest=replace(manifest, tasks=(replace(food, confidence=entry), birds)))
    found = run(graph.path, photos[0]).stdout.splitlines()
    assert found[1].startswith("  food   unknown (unsure)   ")
    assert "unknown" not in found[2]
    (document,) = json.loads(run(graph.path, photos[0], "--json").stdout)
    assert document["tasks"]["food"]["unknown"] == "unsure"
    assert "unknown" not in document["tasks"]["birds"]
    assert "unknown" not in run(graph.path, photos[0], "--no-unknown").stdout
    assert "unknown" not in run(graph.path, photos[0], "--no-unknown", "--json").stdout
