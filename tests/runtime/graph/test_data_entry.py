from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from snow_runtime.errors import ManifestError
from snow_runtime.graph.data_entry import DataEntry, SplitEntry
from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry

HASH, OTHER = "ab" * 32, "cd" * 32
ENTRY = DataEntry(HASH, 7, {"train": SplitEntry(HASH, 80), "val": SplitEntry(OTHER, 20)})


def manifest(data: DataEntry | None = ENTRY) -> Manifest:
    task = TaskEntry("food", "food", ("a", "b"), sha256=HASH, data=data)
    return Manifest(SourceEntry("resnet18", HASH, 1), Preprocessing.for_size(8), (task,))


@pytest.mark.parametrize("data", [ENTRY, DataEntry(HASH, 0), None])
def test_it_travels_in_the_manifest(data: DataEntry | None) -> None:
    assert Manifest.from_json(manifest(data).to_json()) == manifest(data)


def test_a_manifest_from_before_has_none() -> None:
    document = json.loads(manifest().to_json())
    del document["tasks"][0]["data"]

    assert Manifest.from_json(json.dumps(document)) == manifest(None)


def test_it_holds_hashes_and_numbers_alone() -> None:
    (task,) = json.loads(manifest().to_json())["tasks"]

    assert task["data"] == {
        "sha256": HASH,
        "seed": 7,
        "splits": {
            "train": {"sha256": HASH, "pictures": 80},
            "val": {"sha256": OTHER, "pictures": 20},
        },
    }


def test_the_split_that_was_measured_on() -> None:
    assert ENTRY.measured == SplitEntry(OTHER, 20)
    three = replace(ENTRY, splits={**ENTRY.splits, "test": SplitEntry(HASH, 5)})
    assert three.measured == SplitEntry(HASH, 5)
    assert DataEntry(HASH, 0).measured is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("text", "task 'food': data is 'text'"),
        ({"sha256": HASH}, "a field 'seed'"),
        ({"sha256": "abc", "seed": 0}, r"data.sha256 is 'abc'"),
        ({"sha256": HASH, "seed": -1}, r"data.seed is -1"),
        ({"sha256": HASH, "seed": 0, "path": "x"}, "'path', expected one of sha256, seed, splits"),
        ({"sha256": HASH, "seed": 0, "splits": {"train": 3}}, r"data.splits\['train'\] is 3"),
        (
            {"sha256": HASH, "seed": 0, "splits": {"dev": {"sha256": HASH, "pictures": 1}}},
            "a name in data.splits is 'dev'",
        ),
        (
            {"sha256": HASH, "seed": 0, "splits": {"val": {"sha256": HASH, "pictures": 0}}},
            "a split's pictures is 0",
        ),
    ],
)
def test_what_is_wrong_is_refused(data: Any, said: str) -> None:
    document = json.loads(manifest().to_json())
    document["tasks"][0]["data"] = data

    with pytest.raises(ManifestError, match=said):
        Manifest.from_json(json.dumps(document))
