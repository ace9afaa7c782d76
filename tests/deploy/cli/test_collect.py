"""`snow-deploy collect`: each command, by what it prints and leaves on the disk."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_runtime import load, load_image
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion
from tests.runtime.collection.pictures import jpeg, new_picture
from tests.runtime.readout.graphs import feature_graph, manifest_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with Collection.open("kept", create=True) as kept:
        kept.add_question(CollectionQuestion("door", ("open", "shut")))
        ids = [kept.add(new_picture(n, reason="random" if n else "unlike")) or 0 for n in range(6)]
        kept.add(new_picture(9, "yard", "left"))
        kept.label(ids[:2], "door", "open", "ann")
        kept.label(ids[2:4], "door", "shut", "ann")
    for number, name in enumerate(("open/a", "shut/b")):
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(100 + number))
    return tmp_path


def collect(*arguments: object, fails: int = 0) -> str:
    result = CliRunner().invoke(main, ["collect", *map(str, arguments)])
    assert result.exit_code == fails, result.output
    return result.output


def test_list_says_what_there_is() -> None:
    said = collect("list", "kept")
    assert said.startswith("7 pictures, 0.0 MB\n")
    assert "gate/whole: 5 random, 1 unlike\n" in said
    assert "yard/left: 1 unsure\n" in said
    assert "question door: 4 of 6 labelled: 2 open, 2 shut; random ones 3 of 5\n" in said
    found = json.loads(collect("list", "kept", "--json"))
    assert found["pictures"] == 7
    assert found["questions"][0]["labels"] == {"open": 2, "shut": 2}


def test_delete_by_camera_time_and_all(folder: Path) -> None:
    for wrong in ([], ["--everything", "--camera", "gate"], ["--damaged", "--everything"]):
        assert "Say what to delete" in collect("delete", "kept", *wrong, fails=2)
    assert "1 pictures deleted" in collect("delete", "kept", "--camera", "yard")
    local = datetime.fromtimestamp(1002, timezone.utc).astimezone().replace(tzinfo=None)
    assert "2 pictures deleted" in collect("delete", "kept", "--before", local.isoformat())
    assert "4 pictures deleted" in collect("delete", "kept", "--everything")
    assert not list((folder / "kept").glob("pictures/*/*"))


def test_what_a_disk_has_damaged_is_let_go(folder: Path) -> None:
    assert "0 pictures deleted" in collect("delete", "kept", "--damaged")
    with Collection.open("kept") as kept:
        sha256 = kept.pictures()[0].sha256
    (folder / "kept" / "pictures" / sha256[:2] / f"{sha256}.jpg").write_bytes(b"")
    assert "--damaged" in collect("export", "kept", "-o", "out", "--format", "csv", fails=1)
    assert "1 pictures deleted" in collect("delete", "kept", "--damaged")
    collect("export", "kept", "-o", "out", "--format", "csv")


def test_an_import_says_that_there_is_no_room_and_goes_on_once_there_is() -> None:
    arguments = ("import", "kept", "photos", "--question", "door")
    said = collect(*arguments, "--collect-bytes", "1KB", fails=1)
    assert "may take 1000 bytes" in said
    assert collect("list", "kept").startswith("7 pictures")
    assert "no room" in collect(*arguments, fails=1)  # it is remembered
    assert "2 pictures added" in collect(*arguments, "--collect-bytes", "1MB")
    assert collect("list", "kept").startswith("9 pictures")


def test_import_with_a_graph_keeps_its_features(folder: Path) -> None:
    graph = feature_graph(folder / "graph.onnx")
    said = collect(
        "import", "other", "photos", "--question", "door", "--model", graph.path, "--camera", "gate"
    )
    assert "2 pictures added, 0 were there, 2 labels given" in said
    with Collection.open("other") as kept, load(graph.path) as model:
        for each, name in zip(kept.pictures(), ("open/a", "shut/b"), strict=True):
            expected = model.features([load_image(folder / "photos" / f"{name}.jpg")])
            assert kept.features([each.id]) == pytest.approx(expected, rel=1e-3, abs=1e-3)
            assert each.source_sha256 == graph.manifest.source.sha256
            assert each.camera == "gate"


def test_import_refuses_what_does_not_fit(folder: Path) -> None:
    plain = feature_graph(folder / "plain.onnx", manifest_of(features=False)).path
    (folder / "set.csv").write_text("fname,door\nphotos/open/a.jpg,open\n")
    assert "--question" in collect("import", "other", "photos", fails=2)
    assert "leave --question" in collect("import", "other", "set.csv", "--question", "x", fails=2)
    assert "nowhere does not exist" in collect(
        "import", "other", "nowhere", "--question", "x", fails=2
    )
    arguments = ["import", "other", "photos", "--question", "door", "--model", plain]
    assert "export --features" in collect(*arguments, fails=1)
    assert not (folder / "other").exists()


@pytest.mark.parametrize("form", ["folders", "csv", "tao", "label-studio", "cvat"])
def test_export_writes_each_format(folder: Path, form: str) -> None:
    said = collect("export", "kept", "-o", "out", "--format", form, "--question", "door")
    assert said == "4 pictures written to out\n"
    assert len(list((folder / "out").rglob("*.jpg"))) == 4


def test_pull_and_push(folder: Path) -> None:
    assert "4 pictures written to labelled.tar" in collect("pull", "kept", "-o", "labelled.tar")
    said = collect("push", "labelled.tar", "other")
    assert said == "4 pictures added, 0 were there, 4 labels given\n"
    assert "question door: 4 of 4 labelled" in collect("list", "other")
    (folder / "labelled.tar").write_bytes(b"x" * 999)
    assert "error:" in collect("push", "labelled.tar", "other", fails=1)


def test_a_folder_that_is_no_collection_is_left_alone(folder: Path) -> None:
    for command in (["list"], ["delete", "--everything"], ["pull", "-o", "x"]):
        assert "There is no collection" in collect(command[0], "photos", *command[1:], fails=1)
    assert {path.name for path in (folder / "photos").iterdir()} == {"open", "shut"}
