"""Archives as mistakes, tools and attackers make them."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from snow_runtime.learn.scored import looked_at, read_scored_features
from snow_runtime.score.errors import ScoreError
from snow_runtime.score.job_picture import JobPicture
from snow_runtime.score.scorer import Scorer
from snow_runtime.score.shard_pictures import read_shard_pictures
from tests.runtime.readout.graphs import feature_graph, manifest_of
from tests.runtime.score.jobs import (
    job_record,
    picture_bytes,
    rows_of,
    run_job,
    write_parquet,
    write_pictures,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.score.inputs import Shard
    from tests.runtime.readout.graphs import FeatureGraph

PICTURE = picture_bytes(1)


@pytest.fixture
def model(tmp_path: Path) -> FeatureGraph:
    return feature_graph(tmp_path / "snow.onnx", manifest_of(("food",)))


def test_a_mistyped_input_is_corrected_in_the_same_folder(
    model: FeatureGraph, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 2)
    out = tmp_path / "out"
    with pytest.raises(ScoreError, match="is not there"):
        run_job(model.path, [tmp_path / "inn"], out)

    assert run_job(model.path, [tmp_path / "in"], out).rows == 2
    assert job_record(out)["inputs"] == [str(tmp_path / "in")]
    with pytest.raises(ScoreError, match="holds another job"):
        run_job(model.path, [tmp_path / "in"], out, batch=2)
    assert run_job(model.path, [tmp_path / "in"], out).scored == 0


def test_a_mistyped_column_is_corrected_in_the_same_folder(
    model: FeatureGraph, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "a.parquet", {"one": [PICTURE], "two": [PICTURE]})
    out = tmp_path / "out"
    assert run_job(model.path, [tmp_path / "a.parquet"], out).given_up
    assert run_job(model.path, [tmp_path / "a.parquet"], out, column="two").rows == 1


def test_paths_that_no_file_can_have_are_rows_with_errors(
    model: FeatureGraph, tmp_path: Path
) -> None:
    paths = [*write_pictures(tmp_path, 1), "a" * 5000 + ".png", "a\0b.png", "", None, tmp_path]
    texts = [None if path is None else str(path) for path in paths]
    write_parquet(tmp_path / "p.parquet", {"path": texts})

    outcome = run_job(model.path, [tmp_path / "p.parquet"], tmp_path / "out")

    assert (outcome.rows, dict(outcome.failed)) == (6, {"unreadable": 5})
    found = [row["error"] is None for row in rows_of(tmp_path / "out")]
    assert found == [True, False, False, False, False, False]


def test_columns_as_other_tools_write_them(model: FeatureGraph, tmp_path: Path) -> None:
    """Data sets of Hugging Face without the bytes, pandas' categories, ids that are bytes."""
    (path,) = map(str, write_pictures(tmp_path, 1))
    images = [{"bytes": None, "path": path}, {"bytes": PICTURE, "path": "gone.png"}, None]
    write_parquet(tmp_path / "a.parquet", {"image": images, "id": [b"one", b"\xff", None]})
    categories = pa.array([path, path]).dictionary_encode()
    write_parquet(tmp_path / "b.parquet", {"file": categories})

    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    outcome = run_job(model.path, files, tmp_path / "out")

    assert not outcome.given_up
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows[:2]] == ["one", "\\xff"]
    assert [row["error"] is None for row in rows] == [True, True, False, True, True]


def test_two_columns_of_one_name_are_refused(model: FeatureGraph, tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([PICTURE])] * 2, names=["image", "image"])
    pq.write_table(twice, tmp_path / "a.parquet")
    outcome = run_job(model.path, [tmp_path / "a.parquet"], tmp_path / "out", column="image")
    assert "has two columns of one name" in outcome.given_up[0]


def test_a_tar_may_claim_and_name_what_it_likes(model: FeatureGraph, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:

        def add(info: tarfile.TarInfo, content: bytes) -> None:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

        add(tarfile.TarInfo("../../etc/up.png"), PICTURE)
        for name, kind in (("l.png", tarfile.SYMTYPE), ("d.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        sparse = tarfile.TarInfo("GNUSparseFile.0/huge.png")  # a tebibyte of nothing
        sparse.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "huge.png",
            "GNU.sparse.realsize": str(1 << 40),
        }
        add(sparse, b"0\n".ljust(512, b"\0"))
        add(tarfile.TarInfo("last.png"), PICTURE)

    run_job(model.path, [tmp_path / "a.tar"], tmp_path / "out")

    rows = rows_of(tmp_path / "out")
    names = [row["id"].partition("#")[2] for row in rows]
    assert names == ["../../etc/up.png", "huge.png", "last.png"]
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert "has 1,099,511,627,776 bytes, expected" in rows[1]["error"]


def test_what_ends_a_process_while_it_is_fetched_is_told_by_its_own_number(
    model: FeatureGraph,
) -> None:
    begun: list[int] = []

    def pictures() -> Iterator[JobPicture]:
        yield JobPicture("one", data=PICTURE)
        raise MemoryError

    from snow_runtime import load

    with load(model.path, threads=1) as held:
        scorer = Scorer(held, features=False, batch=1)
        with pytest.raises(MemoryError):
            list(scorer.rows(pictures(), (), begun.append))
    assert begun[-1] == 1


def test_what_is_computed_at_the_end_is_told_by_the_last_picture(model: FeatureGraph) -> None:
    from snow_runtime import load

    begun: list[int] = []
    with load(model.path, threads=1) as held:
        scorer = Scorer(held, features=False, batch=2)
        pictures = [JobPicture(str(number), data=PICTURE) for number in range(3)]
        rows = [(row.id, begun[-1]) for row in scorer.rows(pictures, (), begun.append)]
    assert rows == [("0", 1), ("1", 1), ("2", 2)]


def test_bytes_that_are_skipped_are_not_read(tmp_path: Path) -> None:
    from snow_runtime.score.inputs import Shard as Made
    from snow_runtime.score.options import ScoreOptions
    from tests.runtime.score.jobs import write_tar

    path = tmp_path / "a.tar"
    write_tar(path, [("a.txt", b"x"), ("a.png", PICTURE), ("b.png", PICTURE), ("c.png", PICTURE)])
    shard: Shard = Made(0, "tar", (str(path),))
    found = list(read_shard_pictures(shard, ScoreOptions((str(path),)), {1}))
    assert [each.data for each in found] == [PICTURE, None, PICTURE]


@pytest.mark.parametrize("uri", ["", "file://", "a\0b"])
def test_what_names_no_path_is_refused(
    model: FeatureGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    write_pictures(tmp_path / "in", 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScoreError, match="names no path"):
        run_job(model.path, [tmp_path / "in"], uri)
    with pytest.raises(ScoreError, match="names no path"):
        run_job(model.path, [uri], tmp_path / "out")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "snow.onnx"]


def test_an_output_that_is_its_input_too_says_nothing_of_its_own_record(
    model: FeatureGraph, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 2)
    outcome = run_job(model.path, [tmp_path / "in"], tmp_path / "in")
    assert (outcome.rows, outcome.remarks) == (2, ())


def test_a_part_that_says_nothing_of_itself_is_refused(model: FeatureGraph, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    run_job(model.path, [tmp_path / "in"], tmp_path / "out", features=True)
    part = tmp_path / "out" / "part-000000.parquet"
    table = pq.read_table(part)
    pq.write_table(table, part)  # its schema's metadata stay, its summary goes
    with pytest.raises(ScoreError, match="cannot be read"):
        read_scored_features(str(tmp_path / "out"), {"x"})

    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(ScoreError, match=r"cannot be read: .*[^.]\. Score it anew\."):
        read_scored_features(str(tmp_path / "out"), {"x"})
    with pytest.raises(ScoreError, match=r"cannot be read: .*[^.]\. Remove it and run"):
        run_job(model.path, [tmp_path / "in"], tmp_path / "out", features=True)


def test_a_picture_that_was_read_another_time_is_not_unreadable(
    model: FeatureGraph, tmp_path: Path
) -> None:
    pictures = [b"none", *map(picture_bytes, range(4))]
    rows = {"image": pictures, "id": ["a", "a", "b", "c", "d"]}
    write_parquet(tmp_path / "a.parquet", rows)
    run_job(model.path, [tmp_path / "a.parquet"], tmp_path / "out", features=True)
    scored = read_scored_features(str(tmp_path / "out"), set("abcd"))
    assert looked_at(scored, dict(zip("abcd", "xxyy", strict=True))).remarks == ()


def test_an_id_of_several_pictures_is_told_to_who_fits_by_it(
    model: FeatureGraph, tmp_path: Path
) -> None:
    ids = ["a", "a", "b", "b", "c", "d"]
    pictures = [picture_bytes(1), picture_bytes(2), b"", *map(picture_bytes, (3, 4, 5))]
    pq.write_table(pa.table({"id": ids, "image": pictures}), tmp_path / "twice.parquet")
    out = tmp_path / "out"
    run_job(model.path, [tmp_path / "twice.parquet"], out, features=True)

    scored = read_scored_features(str(out), set(ids))
    assert scored.several == {"a"}
    assert scored.unreadable == set()
    assert scored.rows[scored.places["a"]].tolist() == rows_of(out)[0]["features"]
    labels = {"a": "x", "b": "x", "c": "y", "d": "y"}
    told = looked_at(scored, labels).remarks
    assert any(
        "1 ids are of several pictures, of which the first counts, such as a" in each
        for each in told
    )
