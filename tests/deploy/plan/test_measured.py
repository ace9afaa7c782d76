"""Measured times: which combination a measurement is of, and which are not used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from snow_deploy.errors import PlanError
from snow_deploy.plan.measured import machine_notes, match_measurements, read_measurements
from snow_deploy.plan.variants import read_candidates
from tests.deploy.plan.conftest import LABELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_deploy.training.store import Store
    from snow_deploy.training.task_record import TaskRecord


def contender(records: Sequence[TaskRecord], ms: float, **changes: Any) -> dict[str, Any]:
    """Write down what `bench` says of a graph, as far as it is read."""
    return {
        "name": "snow.engine",
        "precision": "fp16",
        "layout": "fused",
        "source_sha256": records[0].source_sha256,
        "task_sha256": {it.name: it.fingerprint() for it in records},
        "stages": {"inference": {"p50_ms": ms}},
        **changes,
    }


def write_bench(
    path: Path, contenders: list[dict[str, Any]], batch: int = 1, **machine: Any
) -> Path:
    document = {
        "options": {"batch": batch},
        "machine": {"processor": "a CPU", **machine},
        "contenders": contenders,
    }
    path.write_text(json.dumps(document))
    return path


def test_a_measurement_is_known_by_the_weights_in_it(
    four: dict[str, TaskRecord], store: Store, tmp_path: Path
) -> None:
    both = [four["mood-readout"], four["food-snow"]]  # the order of the outputs does not matter
    file = write_bench(
        tmp_path / "bench.json",
        [contender(both, 2.5), contender(both, 2.0), contender(both, 3.0, precision="int8")],
        jetson={"model": "Jetson Orin NX"},
        gpus=[{"name": "Orin"}],
    )

    found, notes = match_measurements(read_candidates(store.root), read_measurements([file]), 1)

    assert notes == []
    assert {precision: list(of) for precision, of in found.items()} == {
        "fp16": [(1, 0)],
        "int8": [(1, 0)],
    }
    assert (found["fp16"][1, 0].ms, found["fp16"][1, 0].machine) == (2.0, "Jetson Orin NX")


def test_a_measurement_names_what_it_ran_on(
    four: dict[str, TaskRecord], store: Store, tmp_path: Path
) -> None:
    """A machine with a GPU may have measured its CPU."""
    readouts, deltas = ([four[f"{task}-{each}"] for task in LABELS] for each in ("readout", "snow"))
    cpu = {"providers": ["CPUExecutionProvider"]}
    here = [contender(readouts, 2.5, **cpu), contender(readouts, 1.5, precision="fp32")]
    files = [
        write_bench(tmp_path / "a.json", here, gpus=[{"name": "RTX 4090"}]),
        write_bench(tmp_path / "b.json", [contender(deltas, 3.0, **cpu)], jetson={"model": "Orin"}),
    ]

    found, _ = match_measurements(read_candidates(store.root), read_measurements(files), 1)

    assert {p: [g.machine for g in by.values()] for p, by in found.items()} == {
        "fp16": ["a CPU", "Orin's CPU"],
        "fp32": ["RTX 4090"],
    }
    assert machine_notes(found, None) == [
        "the measured times are of several machines: a CPU, Orin's CPU, RTX 4090"
    ]
    (note,) = machine_notes({"fp32": found["fp32"]}, "Jetson TX2")
    assert note == "what is measured was measured on RTX 4090, and is taken for the Jetson TX2's"
    assert machine_notes({"fp32": found["fp32"]}, None) == machine_notes({}, "L4") == []


def test_what_does_not_match_is_told_and_not_used(
    four: dict[str, TaskRecord], store: Store, tmp_path: Path
) -> None:
    both = [four["mood-readout"], four["food-snow"]]
    old = {key: it for key, it in contender(both, 1.0).items() if key != "task_sha256"}
    own = contender(both, 1.0)
    own["task_sha256"] = {**own["task_sha256"], "source": None}
    files = [
        write_bench(
            tmp_path / "a.json",
            [
                contender(both, 1.0, name="elsewhere", source_sha256="0" * 64),
                contender(both[:1], 1.0, name="alone"),
                contender([four["food-readout"], four["food-snow"]], 1.0, name="twice"),
                {**old, "name": "old"},
                {**own, "name": "own"},
                contender(both, 1.0, name="stopped", stages={"inference": None}),
            ],
        ),
        write_bench(tmp_path / "b.json", [contender(both, 1.0, name="many")], batch=4),
    ]
    measurements = read_measurements(files)

    found, notes = match_measurements(read_candidates(store.root), measurements, 1)

    assert found == {}
    unreadable = {"old": "older version", "own": "own classes", "stopped": "to an end"}
    unmatched = {
        "elsewhere": "of another source",
        "alone": "none of the combinations",
        "twice": "none of the combinations",
        "many": "measured at batch 4, and this plan is for 1",
    }
    for said, expected in ((measurements.notes, unreadable), (notes, unmatched)):
        assert len(said) == len(expected)
        for note, (name, why) in zip(said, expected.items(), strict=True):
            assert f" {name} " in note
            assert why in note


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[", b"[]", b"{}", b'{"options": {"batch": "x"}}', b"3"),
        b'{"options": {"batch": 1e999}}',
        b"[" * 100_000,
        b"\x80" * 5_000,
        b"\x7fELF" * 5_000,
    ],
)
def test_what_is_no_measurement_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(content)
    with pytest.raises(PlanError, match="is no measurement that can be read") as caught:
        read_measurements([path])
    assert len(str(caught.value)) < 600  # it says what is wrong, and not the file


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_measurement_may_be_written_by_a_shell_of_windows(
    four: dict[str, TaskRecord], tmp_path: Path, encoding: str
) -> None:
    path = write_bench(tmp_path / "bench.json", [contender([four["food-snow"]], 2.0)])
    path.write_text(path.read_text(), encoding=encoding)
    assert [graph.ms for graph in read_measurements([path]).graphs] == [2.0]


@pytest.mark.parametrize("ms", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_time_is_refused(
    four: dict[str, TaskRecord], tmp_path: Path, ms: float
) -> None:
    file = write_bench(tmp_path / "bench.json", [contender([four["food-snow"]], ms)])
    with pytest.raises(PlanError, match="is no measurement that can be read"):
        read_measurements([file])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="No such file"):
        read_measurements([tmp_path / "bench.json"])
