from __future__ import annotations

import gzip
import io
import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from snow_deploy.data import open_data, tar_index
from snow_deploy.data.webdataset import find_tars
from snow_deploy.errors import DataError
from snow_deploy.training.feature_cache import picture_key
from tests.runtime.score.jobs import picture_bytes, write_tar

if TYPE_CHECKING:
    from pathlib import Path


def sample(key: str, seed: int, label: str | dict[str, object] | None) -> list[tuple[str, bytes]]:
    """Give a picture and its label as members of a tar."""
    members = [(f"{key}.png", picture_bytes(seed))]
    if isinstance(label, str):
        members.append((f"{key}.cls", label.encode()))
    elif label is not None:
        members.append((f"{key}.json", json.dumps(label).encode()))
    return members


def shards(folder: Path, names: list[str], each: int = 6, labels: int = 2) -> list[Path]:
    """Write tars of pictures whose labels take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, name in enumerate(names):
        members = [
            member
            for k in range(each)
            for member in sample(f"{number}/{k:04}", 100 * number + k, str(k % labels))
        ]
        paths.append(folder / name)
        write_tar(paths[-1], members)
    return paths


def test_pictures_of_tars_are_those_that_were_packed(tmp_path: Path) -> None:
    shards(tmp_path, ["train-000.tar", "train-001.tar", "test-000.tar"])

    splits = open_data(f"webdataset:{tmp_path}/{{train-{{000..001}},test-000}}.tar")

    assert (len(splits.train), splits.val, splits.labels) == (12, None, ("0", "1"))
    assert splits.test is not None
    assert len(splits.test) == 6
    for index in range(12):
        number, k = divmod(index, 6)
        assert splits.train.name(index) == f"{tmp_path}/train-00{number}.tar#{number}/{k:04}.png"
        assert splits.train.target(index) == k % 2
        with Image.open(io.BytesIO(picture_bytes(100 * number + k))) as expected:
            np.testing.assert_array_equal(splits.train.load(index), expected)


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (["train/0.tar", "val/0.tar", "test/0.tar"], (6, 6, 6)),
        (["training_0.tar", "valid_0.tar", "testing_0.tar"], (6, 6, 6)),
        (["a.tar", "b.tar"], (10, None, 2)),
        (["trained.tar", "tests.tar"], (10, None, 2)),  # no names of splits
        (["train-0.tar", "train-1.tar"], (10, None, 2)),
    ],
)
def test_names_tell_the_splits_or_a_fifth_is_drawn(
    tmp_path: Path, names: list[str], counts: tuple[int, int | None, int]
) -> None:
    for name in names:
        shards((tmp_path / "set" / name).parent, [name.rpartition("/")[2]])

    splits = open_data(f"webdataset:{tmp_path}/set")

    parts = (splits.train, splits.val, splits.test)
    assert tuple(None if part is None else len(part) for part in parts) == counts


def test_an_index_is_made_once_and_again_when_the_tar_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tar,) = shards(tmp_path, ["a.tar"])
    first = open_data(f"webdataset:{tar}")
    read: list[Path] = []
    scanned = tar_index._scanned

    def counted(path: Path) -> tar_index.TarIndex:
        read.append(path)
        return scanned(path)

    monkeypatch.setattr(tar_index, "_scanned", counted)

    again = open_data(f"webdataset:{tar}")

    assert read == []
    assert again.fingerprint == first.fingerprint
    assert [again.train.name(n) for n in range(len(again.train))] == [
        first.train.name(n) for n in range(len(first.train))
    ]
    shards(tmp_path, ["a.tar"], each=8)
    assert len(open_data(f"webdataset:{tar}").train) > len(first.train)
    assert read == [tar]
    (tmp_path / ".snow-index" / "a.tar.json").write_text("{")
    assert open_data(f"webdataset:{tar}").labels == ("0", "1")


def test_a_folder_that_cannot_be_written_needs_no_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tar,) = shards(tmp_path, ["a.tar"])

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(tar_index, "atomic_write", refuse)

    assert open_data(f"webdataset:{tar}").labels == ("0", "1")


def test_labels_are_texts_numbers_or_json(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "a.tar",
        [
            *(m for k in range(4) for m in sample(f"t{k}", k, {"label": "é" if k % 2 else "a"})),
            *(m for k in range(2) for m in sample(f"n{k}", 9 + k, {"cls": 7, "other": [1]})),
            *sample("without", 20, None),
            *sample("silent", 21, {"text": "nothing"}),
        ],
    )

    splits = open_data(f"webdataset:{tmp_path}/a.tar")

    assert splits.labels == ("7", "a", "é")
    assert "2 pictures without a label" in splits.remarks[0]


def test_numbers_are_sorted_by_value_and_named_by_a_file(tmp_path: Path) -> None:
    (tar,) = shards(tmp_path, ["a.tar"], each=36, labels=12)

    assert open_data(f"webdataset:{tar}").labels == tuple(map(str, range(12)))
    (tmp_path / "classes.txt").write_text("\n".join(f"name {k}" for k in range(12)))
    assert open_data(f"webdataset:{tar}").labels == tuple(f"name {k}" for k in range(12))
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="no name for 2, 3"):
        open_data(f"webdataset:{tar}")


def test_a_picture_may_have_any_number_of_labels(tmp_path: Path) -> None:
    sets = [["wet"], ["red", "wet"], [], ["red"], ["wet"], ["red"]]
    members = [m for k, labels in enumerate(sets) for m in sample(str(k), k, {"labels": labels})]
    write_tar(tmp_path / "train.tar", members)
    write_tar(tmp_path / "test.tar", members)

    splits = open_data(f"webdataset:{tmp_path}/{{train,test}}.tar")

    assert splits.answers == "several"
    assert splits.labels == ("red", "wet")
    found = [splits.train.present(n) for n in range(6)]  # type: ignore[attr-defined]
    assert found == [(1,), (0, 1), (), (0,), (1,), (0,)]
    write_tar(tmp_path / "b.tar", members)
    assert open_data(f"webdataset:{tmp_path}/b.tar").answers == "several"


@pytest.mark.parametrize("kept", [700, 3000, 10239])
def test_a_tar_that_is_cut_off_is_named_with_what_to_do(tmp_path: Path, kept: int) -> None:
    first, second = shards(tmp_path, ["train-0.tar", "train-1.tar"])
    whole = second.read_bytes()
    second.write_bytes(whole[: min(kept, len(whole) - 1024)])

    with pytest.raises(DataError, match="Copy it again") as caught:
        open_data(f"webdataset:{tmp_path}/train-{{0..1}}.tar")

    assert str(second) in str(caught.value)
    assert str(first) not in str(caught.value)
    second.write_bytes(whole)
    assert open_data(f"webdataset:{tmp_path}/*.tar").labels == ("0", "1")


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("none-*.tar", "names no tar"),
        ("a-{0..2}.tar", "a-2.tar is not there"),
        ("a-{0..", "brace that is not closed"),
        ("empty", "names no tar"),
        ("{a-0,a-0}.tar", "twice"),
        ("{a-0,train-0}.tar", "others are not"),
        ("{test-0,val-0}.tar", "none to train on"),
        ("one.tar", "one class only"),
        ("bad.tar", "bad.tar#0.json cannot be read"),
        ("mixed.tar", "a list of labels and others one"),
        ("two.tar", "two pictures of one sample"),
        ("packed.tar.gz", "compressed"),
        ("unlabelled.tar", "no labelled picture"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    tars = shards(tmp_path, ["a-0.tar", "a-1.tar", "train-0.tar", "test-0.tar", "val-0.tar"])
    (tmp_path / "packed.tar.gz").write_bytes(gzip.compress(tars[0].read_bytes()))
    write_tar(tmp_path / "one.tar", [m for k in range(4) for m in sample(str(k), k, "x")])
    write_tar(tmp_path / "bad.tar", [("0.png", picture_bytes(0)), ("0.json", b"{")])
    write_tar(
        tmp_path / "mixed.tar",
        [*sample("0", 0, {"labels": ["x"]}), *sample("1", 1, {"label": "x"})],
    )
    write_tar(
        tmp_path / "two.tar", [("0.left.png", picture_bytes(0)), ("0.right.png", picture_bytes(1))]
    )
    write_tar(tmp_path / "unlabelled.tar", sample("0", 0, None))

    with pytest.raises(DataError, match=says):
        open_data(f"webdataset:{pattern}")


def test_tars_in_a_store_are_to_be_copied() -> None:
    with pytest.raises(DataError, match="Copy or mount"):
        open_data("webdataset:s3://bucket/train-{000..010}.tar")


def test_tars_come_in_the_order_of_the_braces(tmp_path: Path) -> None:
    shards(tmp_path, ["b.tar", "a.tar"])

    found = find_tars(f"{tmp_path}/{{b,a}}.tar")

    assert [path.name for path in found] == ["b.tar", "a.tar"]


def test_features_are_kept_until_the_tar_changes(tmp_path: Path) -> None:
    (tar,) = shards(tmp_path, ["a.tar"])
    name = f"{tar}#0/0000.png"
    before = picture_key(name)

    assert picture_key(f"{tar}#0/0001.png") != before
    os.utime(tar, ns=(1, 1))
    assert picture_key(name) != before
