from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from snow_runtime import ReadoutError, load, load_image
from snow_runtime.errors import GraphError
from snow_runtime.score.errors import OutputError, ScoreError
from tests.runtime.readout.graphs import feature_graph, make_readout, manifest_of
from tests.runtime.score.jobs import (
    InThisProcess,
    expected_rows,
    job_record,
    picture_bytes,
    rows_of,
    run_job,
    write_parquet,
    write_pictures,
    write_tar,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.score.shard_worker import Setup
    from tests.runtime.readout.graphs import FeatureGraph


@pytest.fixture
def model(tmp_path: Path) -> FeatureGraph:
    return feature_graph(tmp_path / "snow.onnx", manifest_of(("food", "door")))


def contents(paths: list[Path]) -> list[tuple[str, bytes]]:
    return [(str(path), path.read_bytes()) for path in paths]


def test_a_folder_is_answered_as_by_single_calls(model: FeatureGraph, tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in" / "b", 3) + write_pictures(tmp_path / "in" / "c", 2, 9)
    (tmp_path / "in" / "b" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")

    outcome = run_job(model.path, [tmp_path / "in"], tmp_path / "out")

    assert rows_of(tmp_path / "out") == expected_rows(model.path, contents(paths))
    assert (outcome.rows, outcome.scored, outcome.parts, outcome.shards) == (5, 5, 1, 1)
    assert not outcome.failed
    assert "Thumbs.db" in outcome.remarks[0]
    assert ".hidden.png" in outcome.remarks[0]


@pytest.mark.parametrize("batch", [1, 3])
def test_features_are_the_models_in_half_precision(
    model: FeatureGraph, tmp_path: Path, batch: int
) -> None:
    paths = write_pictures(tmp_path / "in", 4)

    run_job(model.path, [tmp_path / "in"], tmp_path / "out", features=True, batch=batch)

    with load(model.path, threads=1) as held:
        expected = held.features([load_image(path) for path in paths]).astype(np.float16)
    found = np.stack([np.array(row["features"], np.float16) for row in rows_of(tmp_path / "out")])
    np.testing.assert_array_equal(found, expected)


def test_a_part_says_which_model_and_what_the_features_are(
    model: FeatureGraph, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 1)
    run_job(model.path, [tmp_path / "in"], tmp_path / "out", features=True)

    schema = pq.read_schema(tmp_path / "out" / "part-000000.parquet")

    assert schema.names == [
        *("id", "food_label", "food_probability", "door_label", "door_probability"),
        *("features", "error"),
    ]
    assert schema.field("features").type == pa.list_(pa.float16(), 8)
    manifest = json.loads(schema.metadata[b"snow_deploy.manifest"])
    assert [task["name"] for task in manifest["tasks"]] == ["food", "door"]


def test_without_features_in_the_graph_none_can_be_written(tmp_path: Path) -> None:
    graph = feature_graph(tmp_path / "snow.onnx", manifest_of(features=False))
    write_pictures(tmp_path / "in", 1)

    with pytest.raises(ReadoutError, match="--features"):
        run_job(graph.path, [tmp_path / "in"], tmp_path / "out", features=True)


def test_of_several_labels_those_that_are_present_are_written(tmp_path: Path) -> None:
    manifest = manifest_of(("food",))
    manifest = replace(manifest, tasks=(replace(manifest.tasks[0], answers="several"),))
    graph = feature_graph(tmp_path / "snow.onnx", manifest)
    paths = write_pictures(tmp_path / "in", 6)

    run_job(graph.path, [tmp_path / "in"], tmp_path / "out")

    with load(graph.path, threads=1) as held:
        for row, path in zip(rows_of(tmp_path / "out"), paths, strict=True):
            present = held(load_image(path))["food"].present()
            assert row["food_labels"] == [label for label, _ in present]
            assert row["food_probabilities"] == [share for _, share in present]


def test_readouts_are_answered_too(model: FeatureGraph, tmp_path: Path) -> None:
    readout = make_readout(model, "gate")
    readout.write(tmp_path / "gate.readout")
    paths = write_pictures(tmp_path / "in", 2)

    run_job(model.path, [tmp_path / "in"], tmp_path / "out", readouts=[tmp_path / "gate.readout"])

    with load(model.path, threads=1) as held:
        held.add_readout(readout)
        for row, path in zip(rows_of(tmp_path / "out"), paths, strict=True):
            answer = held(load_image(path))["gate"]
            assert (row["gate_label"], row["gate_probability"]) == (
                answer.label,
                answer.probability,
            )


@pytest.mark.parametrize("batch", [1, 4])
def test_a_bad_picture_is_a_row_in_its_place(
    model: FeatureGraph, tmp_path: Path, batch: int
) -> None:
    paths = write_pictures(tmp_path / "in", 7)
    paths[2].write_bytes(b"no picture")
    paths[4].write_bytes(paths[4].read_bytes()[:60])
    (tmp_path / "in" / "00009.png").symlink_to("nowhere")

    outcome = run_job(model.path, [tmp_path / "in"], tmp_path / "out", batch=batch, features=True)

    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == [*map(str, paths), str(tmp_path / "in" / "00009.png")]
    bad = [row for row in rows if row["error"] is not None]
    assert [row["id"][-5] for row in bad] == ["2", "4", "9"]
    for row in bad:
        assert row["id"] in row["error"]
        assert row["food_label"] is row["food_probability"] is row["features"] is None
    assert outcome.failed == {"unreadable": 3}
    assert len(outcome.examples) == 3


def test_a_picture_that_cannot_be_computed_is_a_row(tmp_path: Path) -> None:
    graph = feature_graph(tmp_path / "snow.onnx", manifest_of(), scale=1e5)
    write_pictures(tmp_path / "in", 2)
    black = tmp_path / "in" / "x.png"
    black.write_bytes(b"no picture")

    outcome = run_job(graph.path, [tmp_path / "in"], tmp_path / "out", features=True)

    assert outcome.failed == {"not computed": 2, "unreadable": 1}
    assert "half precision" in rows_of(tmp_path / "out")[0]["error"]


def test_a_shard_of_which_nothing_can_be_computed_is_given_up(tmp_path: Path) -> None:
    graph = feature_graph(tmp_path / "snow.onnx", manifest_of(), scale=1e5)
    write_pictures(tmp_path / "in", 2)

    outcome = run_job(graph.path, [tmp_path / "in"], tmp_path / "out", features=True)

    assert "None of its 2 pictures" in outcome.given_up[0]
    assert rows_of(tmp_path / "out") == []


@pytest.mark.parametrize("form", ["folder", "glob", "braces", "one", "file-uri"])
def test_inputs_of_every_form_lead_to_the_same_rows(
    model: FeatureGraph, tmp_path: Path, form: str
) -> None:
    paths = write_pictures(tmp_path / "in", 3)
    forms: dict[str, list[str | Path]] = {
        "folder": [tmp_path / "in"],
        "glob": [tmp_path / "in" / "0000?.png"],
        "braces": [f"{tmp_path}/in/{{00000..00002}}.png"],
        "one": [*paths],
        "file-uri": [f"file://{tmp_path}/in"],
    }

    run_job(model.path, forms[form], tmp_path / "out")

    assert rows_of(tmp_path / "out") == expected_rows(model.path, contents(paths))


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_pictures_in_tars_are_answered_and_other_members_passed_over(
    model: FeatureGraph, tmp_path: Path, ending: str
) -> None:
    (tmp_path / "in").mkdir()
    for number in (0, 1):
        write_tar(
            tmp_path / "in" / f"a-{number:03}.{ending}",
            [
                (
                    f"{number}/{key}.{end}",
                    picture_bytes(10 * number + key) if end == "png" else b"1",
                )
                for key in range(3)
                for end in ("png", "cls")
            ],
            "w:gz" if ending == "tar.gz" else "w",
        )

    run_job(model.path, [f"{tmp_path}/in/a-{{000..001}}.{ending}"], tmp_path / "out")

    assert rows_of(tmp_path / "out") == expected_rows(
        model.path,
        [
            (f"{tmp_path}/in/a-{n:03}.{ending}#{n}/{k}.png", picture_bytes(10 * n + k))
            for n in (0, 1)
            for k in range(3)
        ],
    )


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({"image": "bytes", "other": "text"}, {}),
        ({"image": "struct"}, {}),
        ({"path": "relative"}, {}),
        ({"where": "absolute", "path": "text"}, {"column": "where"}),
    ],
)
def test_pictures_in_parquet_are_answered(
    model: FeatureGraph, tmp_path: Path, columns: dict[str, str], options: dict[str, str]
) -> None:
    paths = write_pictures(tmp_path / "in" / "photos", 10)
    data = [path.read_bytes() for path in paths]
    forms: dict[str, Any] = {
        "bytes": data,
        "struct": [{"bytes": each, "path": None} for each in data],
        "relative": [f"photos/{path.name}" for path in paths],
        "absolute": [str(path) for path in paths],
        "text": ["x"] * 10,
    }
    written = {name: forms[form] for name, form in columns.items()}
    shutil.move(tmp_path / "in" / "photos", tmp_path / "photos")
    (tmp_path / "table").mkdir()
    if "where" in columns:
        written["where"] = [str(tmp_path / "photos" / path.name) for path in paths]
    file = tmp_path / "pictures.parquet"
    write_parquet(file, {**written, "id": [f"n{i}" for i in range(10)]}, row_group_size=3)

    outcome = run_job(model.path, [file], tmp_path / "out", shard_rows=4, **options)

    assert rows_of(tmp_path / "out") == expected_rows(
        model.path, [(f"n{i}", each) for i, each in enumerate(data)]
    )
    assert outcome.shards == 2  # of six and four rows: whole row groups


def test_rows_without_an_id_are_named_after_file_and_number(
    model: FeatureGraph, tmp_path: Path
) -> None:
    file = tmp_path / "p.parquet"
    data = [picture_bytes(1), None, picture_bytes(2)]
    write_parquet(file, {"jpeg": pa.array(data, pa.binary())}, row_group_size=2)

    run_job(model.path, [file], tmp_path / "out", shard_rows=1)

    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == [f"{file}#{number}" for number in range(3)]
    assert "has no bytes" in rows[1]["error"]


@pytest.mark.parametrize(
    ("columns", "options", "says"),
    [
        ({"a": [b"1"], "b": [b"2"]}, {}, "several could be: a, b"),
        ({"a": [1]}, {}, "none looks so"),
        ({"a": [1], "b": [b"1"]}, {"column": "a"}, "is of int64"),
        ({"b": [b"1"]}, {"column": "c"}, "no column 'c'"),
    ],
)
def test_a_parquet_file_whose_pictures_are_not_found_says_what_to_give(
    model: FeatureGraph,
    tmp_path: Path,
    columns: dict[str, Any],
    options: dict[str, str],
    says: str,
) -> None:
    write_parquet(tmp_path / "p.parquet", columns)

    outcome = run_job(model.path, [tmp_path / "p.parquet"], tmp_path / "out", **options)

    assert says in outcome.given_up[0]
    assert "--column" in outcome.given_up[0]


def test_what_several_inputs_lead_to_counts_once(model: FeatureGraph, tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", 3)
    more = write_pictures(tmp_path / "more", 1, 7)
    inputs = [paths[1], tmp_path / "in" / "*2.png", tmp_path / "in", tmp_path / "more", paths[0]]

    outcome = run_job(model.path, inputs, tmp_path / "out")

    ids = [row["id"] for row in rows_of(tmp_path / "out")]
    assert ids == [str(paths[1]), str(paths[2]), str(paths[0]), str(more[0])]
    assert "3 files are in several inputs" in outcome.remarks[-1]


def test_what_a_folder_leaves_out_is_scored_where_it_is_named(
    model: FeatureGraph, tmp_path: Path
) -> None:
    """A hidden folder, and a file without an ending, whichever input comes first."""
    write_pictures(tmp_path / "in", 1)
    hidden = write_pictures(tmp_path / "in" / ".archive", 1, 7)
    bare = write_pictures(tmp_path / "in", 1, 8)[0].rename(tmp_path / "in" / "IMG_0001")
    inputs = [tmp_path / "in", tmp_path / "in" / ".archive", bare]

    for place, order in enumerate((inputs, inputs[::-1])):
        out = tmp_path / f"out{place}"
        outcome = run_job(model.path, order, out)
        ids = {row["id"] for row in rows_of(out)}
        assert {str(hidden[0]), str(bare)} < ids, order
        assert len(ids) == 3
        assert not any("in several inputs" in each for each in outcome.remarks)


def test_what_a_job_wrote_into_its_inputs_folder_is_no_input_of_the_next(
    model: FeatureGraph, tmp_path: Path
) -> None:
    paths = write_pictures(tmp_path / "in", 2)
    run_job(model.path, [tmp_path / "in"], tmp_path / "in" / "scores")

    outcome = run_job(model.path, [tmp_path / "in"], tmp_path / "again")

    assert rows_of(tmp_path / "again") == expected_rows(model.path, contents(paths))
    assert outcome.given_up == {}
    assert "part of a scoring job" in outcome.remarks[0]


def test_a_tar_without_pictures_is_an_empty_part(model: FeatureGraph, tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("0.cls", b"1")])

    outcome = run_job(model.path, [tmp_path / "a.tar"], tmp_path / "out", features=True)

    assert (outcome.rows, outcome.parts, outcome.given_up) == (0, 1, {})
    assert rows_of(tmp_path / "out") == []


def test_an_input_without_pictures_is_refused_whatever_the_others_are(
    model: FeatureGraph, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()

    with pytest.raises(ScoreError, match="empty leads to no picture"):
        run_job(model.path, [*[tmp_path / "in"] * 2, tmp_path / "empty"], tmp_path / "out")


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (["nowhere"], "nowhere is not there"),
        (["*.nothing"], "is not there"),
        (["empty"], "leads to no picture"),
        (["a{1"], "brace that is not closed"),
        (["s3://me:secret@bucket/x"], "password or key"),
        (["nosuch://bucket/x"], "no file system"),
        (["ftp://host/x"], "by this address alone"),
        (["http://127.0.0.1:1/x.jpg"], "by this address alone"),
        (["dir://x"], "Cannot open dir://x"),
        (["generic://x"], "Cannot open generic://"),
        (["in/{00000..00009}.png"], "00003.png, which is not there"),
    ],
)
def test_inputs_that_lead_nowhere_are_refused(
    model: FeatureGraph,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_pictures(tmp_path / "in", 3)

    with pytest.raises(ScoreError, match=says) as caught:
        run_job(model.path, inputs, tmp_path / "out")

    assert "secret" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_a_secret_never_reaches_the_record(model: FeatureGraph, tmp_path: Path) -> None:
    with pytest.raises(ScoreError):
        run_job(model.path, ["s3://me:hidden@b/x"], tmp_path / "out")

    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"hidden" not in path.read_bytes()


def changing(folder: Path) -> Callable[[], dict[str, int]]:
    return lambda: {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def test_a_finished_job_does_nothing_again(model: FeatureGraph, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 5)
    first = run_job(model.path, [tmp_path / "in"], tmp_path / "out", shard_rows=2)
    times = changing(tmp_path / "out")
    before = times()

    again = run_job(model.path, [tmp_path / "in"], tmp_path / "out", shard_rows=2)

    assert times() == before
    assert (again.rows, again.scored, again.parts) == (5, 0, first.parts)


def test_what_is_missing_is_done_from_the_first_listing(
    model: FeatureGraph, tmp_path: Path
) -> None:
    paths = write_pictures(tmp_path / "in", 7)
    run_job(model.path, [tmp_path / "in"], tmp_path / "out", shard_rows=2)
    whole = rows_of(tmp_path / "out")
    (tmp_path / "out" / "part-000001.parquet").unlink()
    (tmp_path / "out" / f".{'0' * 16}.tmp").write_bytes(b"half")
    write_pictures(tmp_path / "in", 3, 100)
    times = changing(tmp_path / "out")
    before = times()
    done: list[InThisProcess] = []

    def workers(setup: Setup) -> InThisProcess:
        done.append(InThisProcess(setup))
        return done[-1]

    outcome = run_job(
        model.path, [tmp_path / "in"], tmp_path / "out", shard_rows=2, workers=workers
    )

    assert done[0].orders == [1]
    assert outcome.scored == 2
    assert rows_of(tmp_path / "out") == whole == expected_rows(model.path, contents(paths))
    assert {name: time for name, time in times().items() if name in before} == before
    assert not list((tmp_path / "out").glob(".*.tmp"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"features": True}, "--features not given, now given"),
        ({"batch": 2}, "--batch 1, now 2"),
        ({"shard_rows": 9}, "--shard-rows 2, now 9"),
        ({"inputs": ["other"]}, "the inputs in, now other"),
        ({"column": "x"}, "--column none, now x"),
    ],
)
def test_another_job_in_the_same_folder_is_refused(
    model: FeatureGraph,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "in", 3)
    run_job(model.path, ["in"], "out", shard_rows=2)

    with pytest.raises(ScoreError, match="holds another job") as caught:
        run_job(model.path, **{"inputs": ["in"], "output": "out", "shard_rows": 2, **change})

    assert says in str(caught.value)
    assert "score into another folder" in str(caught.value)


def test_a_graph_whose_weights_lie_beside_it_is_known_by_them_too(
    model: FeatureGraph, tmp_path: Path
) -> None:
    whole, path = onnx.load(model.path), tmp_path / "beside.onnx"
    onnx.save(whole, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    write_pictures(tmp_path / "in", 1)
    run_job(path, [tmp_path / "in"], tmp_path / "out")
    beside = tmp_path / "w.bin"
    beside.write_bytes(bytes(byte ^ 0x80 for byte in beside.read_bytes()))

    with pytest.raises(ScoreError, match="the model"):
        run_job(path, [tmp_path / "in"], tmp_path / "out")


def test_another_model_in_the_same_folder_is_refused(model: FeatureGraph, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    run_job(model.path, [tmp_path / "in"], tmp_path / "out")
    other = feature_graph(tmp_path / "other.onnx", manifest_of(("else",)))

    with pytest.raises(ScoreError, match="the model"):
        run_job(other.path, [tmp_path / "in"], tmp_path / "out")


def test_parts_that_no_job_began_are_refused(model: FeatureGraph, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    run_job(model.path, [tmp_path / "in"], tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "_job")

    with pytest.raises(ScoreError, match="no record"):
        run_job(model.path, [tmp_path / "in"], tmp_path / "out")


def test_a_part_of_another_job_is_refused(model: FeatureGraph, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    for name, rows in (("a", 2), ("b", 1)):
        run_job(model.path, [tmp_path / "in"], tmp_path / name, shard_rows=rows)
    shutil.copy(tmp_path / "a" / "part-000001.parquet", tmp_path / "b" / "part-000001.parquet")

    with pytest.raises(ScoreError, match=r"part-000001\.parquet .*is of another job"):
        run_job(model.path, [tmp_path / "in"], tmp_path / "b", shard_rows=1)


def test_two_at_once_are_refused(model: FeatureGraph, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)

    def workers(setup: Setup) -> InThisProcess:
        with pytest.raises(ScoreError, match="Another process"):
            run_job(model.path, [tmp_path / "in"], tmp_path / "out")
        return InThisProcess(setup)

    outcome = run_job(model.path, [tmp_path / "in"], tmp_path / "out", workers=workers)

    assert outcome.rows == 1


def test_a_truncated_tar_is_given_up_named_and_done_when_it_is_whole(
    model: FeatureGraph, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    tars = [tmp_path / "in" / f"{number}.tar" for number in range(3)]
    for number, path in enumerate(tars):
        write_tar(path, [(f"{k}.png", picture_bytes(10 * number + k)) for k in range(4)])
    whole = tars[1].read_bytes()
    tars[1].write_bytes(whole[:2000])

    cut = run_job(model.path, [tmp_path / "in"], tmp_path / "out")

    assert list(cut.given_up) == [1]
    assert str(tars[1]) in cut.given_up[1]
    assert "Copy it again" in cut.given_up[1]
    assert (cut.rows, cut.parts) == (8, 2)

    tars[1].write_bytes(whole)
    mended = run_job(model.path, [tmp_path / "in"], tmp_path / "out")

    assert (mended.rows, mended.scored, mended.given_up) == (12, 4, {})
    assert rows_of(tmp_path / "out") == expected_rows(
        model.path,
        [(f"{tars[n]}#{k}.png", picture_bytes(10 * n + k)) for n in range(3) for k in range(4)],
    )


def test_retry_does_again_what_had_errors(model: FeatureGraph, tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", 4)
    good = paths[3].read_bytes()
    paths[3].write_bytes(b"")
    run_job(model.path, [tmp_path / "in"], tmp_path / "out", shard_rows=2)
    paths[3].write_bytes(good)

    plain = run_job(model.path, [tmp_path / "in"], tmp_path / "out", shard_rows=2)
    again = run_job(model.path, [tmp_path / "in"], tmp_path / "out", shard_rows=2, retry=True)

    assert plain.failed == {"unreadable": 1}
    assert plain.scored == 0
    assert again.scored == 2
    assert not again.failed
    assert rows_of(tmp_path / "out") == expected_rows(model.path, contents(paths))


def test_an_output_that_cannot_be_made_is_refused_before_any_work(
    model: FeatureGraph, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 1)
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(OutputError, match="cannot be written"):
        run_job(model.path, [tmp_path / "in"], tmp_path / "file" / "out")


def test_an_output_that_is_full_ends_the_job_which_goes_on_elsewhere_than_there(
    model: FeatureGraph, tmp_path: Path, mount_disk: Callable[[str], Path]
) -> None:
    small = mount_disk("64k")
    write_pictures(tmp_path / "in", 60)
    filler = small / "filler"

    with pytest.raises(OutputError, match="goes on where it was"):
        run_job(model.path, [tmp_path / "in"], small / "out", shard_rows=1)

    names = {path.name for path in (small / "out").iterdir()}
    assert names
    assert not [name for name in names if name.endswith(".tmp")]
    for path in (small / "out").glob("*.parquet"):
        pq.read_table(path)
    assert not filler.exists()


def test_pictures_and_parts_lie_in_any_store(model: FeatureGraph, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    bucket = f"bucket{os.getpid()}-{tmp_path.name}"
    data = {f"{number}.png": picture_bytes(number) for number in range(3)}
    for name, content in data.items():
        memory.pipe(f"/{bucket}/in/deep/{name}", content)
    memory.pipe(f"/{bucket}/in/.hidden/x.png", b"")
    write_tar(tmp_path / "a.tar", [("k.png", picture_bytes(9))])
    memory.pipe(f"/{bucket}/in/tars/a.tar", (tmp_path / "a.tar").read_bytes())
    inputs = [f"memory://{bucket}/in/deep/[01].png", f"memory://{bucket}/in"]
    where = {"inputs": inputs, "output": f"memory://{bucket}/out"}

    outcome = run_job(model.path, **where)  # type: ignore[arg-type]
    again = run_job(model.path, **where)  # type: ignore[arg-type]

    (tmp_path / "out").mkdir()
    for name in memory.ls(f"/{bucket}/out", detail=False):
        if name.endswith(".parquet"):
            (tmp_path / "out" / name.rpartition("/")[2]).write_bytes(memory.cat(name))
    there = f"memory://{bucket}/in"
    assert rows_of(tmp_path / "out") == expected_rows(
        model.path,
        [
            *((f"{there}/deep/{name}", data[name]) for name in ("0.png", "1.png")),
            (f"{there}/tars/a.tar#k.png", picture_bytes(9)),  # a shard by itself
            (f"{there}/deep/2.png", data["2.png"]),
        ],
    )
    assert (outcome.rows, again.scored) == (4, 0)
    assert not memory.find(f"/{bucket}/out/_job/incoming")


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)

    with pytest.raises(GraphError, match=r"gone\.onnx"):
        run_job(tmp_path / "gone.onnx", [tmp_path / "in"], tmp_path / "out")

    assert not (tmp_path / "out" / "_job" / "job.json").exists()


def test_the_record_tells_the_inputs(model: FeatureGraph, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    run_job(model.path, [tmp_path / "in"], tmp_path / "out")

    assert job_record(tmp_path / "out")["inputs"] == [str(tmp_path / "in")]


def test_names_that_are_not_utf8_are_scored(model: FeatureGraph, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "in")
    (tmp_path / "in").mkdir()
    try:
        Path(os.fsdecode(folder + b"/\xff.png")).write_bytes(picture_bytes(1))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")

    run_job(model.path, [tmp_path / "in"], tmp_path / "out")

    (row,) = rows_of(tmp_path / "out")
    assert row["id"].endswith("\\udcff.png")
    assert row["error"] is None
