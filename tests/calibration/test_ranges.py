from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_calibration.errors import CalibrationError
from snow_calibration.pictures import CalibrationPictures
from snow_calibration.ranges import Origin, Ranges, measure_ranges
from snow_calibration.thresholds import BINS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TENSORS = ("a", "b")
ZEROS = base64.b64encode(zlib.compress(bytes(8 * BINS))).decode()


def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Make two tensors of a picture: the second always zero but for its darkest pixels."""
    values = pixels.astype(np.float32)
    return {"a": values - 100, "b": np.maximum(10 - values, 0)}


def origin(samples: CalibrationPictures, method: str = "mse", graph: str = "0" * 64) -> Origin:
    return Origin(graph, samples.sha256, len(samples), method)  # type: ignore[arg-type]


def test_the_largest_magnitudes_are_numpys(samples: CalibrationPictures, tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"

    ranges = measure_ranges(run, TENSORS, samples, origin(samples, "minmax"), path)

    assert ranges.complete
    assert ranges.thresholds == {
        name: float(np.abs(values).max()) for name, values in run(samples.pixels).items()
    }
    assert Ranges.load(path) == ranges


def test_the_histogram_is_numpys(
    samples: CalibrationPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[NDArray[np.int64]] = []

    def spy(counts: NDArray[np.int64], largest: float, _: str) -> float:
        seen.append(counts.copy())
        return largest

    monkeypatch.setattr(
        "snow_calibration.ranges.threshold",
        spy,
    )

    measure_ranges(run, TENSORS, samples, origin(samples), tmp_path / "r.json")

    for counts, values in zip(seen, run(samples.pixels).values(), strict=True):
        magnitudes = np.abs(values)
        expected, _ = np.histogram(magnitudes, BINS, (0, magnitudes.max()))
        assert counts.sum() == expected.sum()
        # np.histogram computes its edges in double: a value on one may fall to either side.
        assert np.abs(np.cumsum(counts) - np.cumsum(expected)).max() < 0.02 * counts.sum()


@given(st.permutations(range(20)))
def test_the_order_of_the_pictures_does_not_matter(
    samples: CalibrationPictures, tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("order")
    shuffled = CalibrationPictures(tuple(samples.keys[n] for n in order), samples.pixels[order])

    for name, some in (("one", samples), ("other", shuffled)):
        measure_ranges(run, TENSORS, some, origin(some), folder / name)

    assert (folder / "one").read_bytes() == (folder / "other").read_bytes()


@pytest.mark.parametrize("killed_at", [1, 15, 16, 17, 20, 21, 30, 36, 39])
def test_a_killed_calibration_resumes_to_the_same_file(
    samples: CalibrationPictures, tmp_path: Path, killed_at: int
) -> None:
    calls = 0

    def killed(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        nonlocal calls
        calls += 1
        if calls == killed_at:
            raise KeyboardInterrupt
        return run(pixels)

    whole, resumed = tmp_path / "whole.json", tmp_path / "resumed.json"
    measure_ranges(run, TENSORS, samples, origin(samples), whole)

    with pytest.raises(KeyboardInterrupt):
        measure_ranges(killed, TENSORS, samples, origin(samples), resumed)
    calls = 100
    measure_ranges(killed, TENSORS, samples, origin(samples), resumed)

    assert resumed.read_bytes() == whole.read_bytes()
    # The first pass is not begun anew once its first part lies on the disk.
    assert calls - 100 <= 40 - 16 * ((killed_at - 1) // 16 if killed_at <= 20 else 1)


def test_both_passes_make_progress(samples: CalibrationPictures, tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []

    measure_ranges(
        run,
        TENSORS,
        samples,
        origin(samples),
        tmp_path / "ranges.json",
        progress=lambda stage, share: heard.append((stage, share)),
    )

    shares = np.arange(1, 41) / 40
    assert [stage for stage, _ in heard] == ["ranges"] * 40
    np.testing.assert_allclose([share for _, share in heard], shares)


def test_finished_ranges_are_reused_without_a_single_run(
    samples: CalibrationPictures, tmp_path: Path
) -> None:
    path = tmp_path / "ranges.json"
    first = measure_ranges(run, TENSORS, samples, origin(samples), path)

    def never(_: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        raise AssertionError

    assert measure_ranges(never, TENSORS, samples, origin(samples), path) == first


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"graph_sha256": "1" * 64}, "graph_sha256"),
        ({"data_sha256": "2" * 64}, "data_sha256"),
        ({"samples": 21}, "samples"),
        ({"method": "entropy"}, "method"),
    ],
)
def test_ranges_of_something_else_are_refused(
    samples: CalibrationPictures, tmp_path: Path, changed: dict[str, object], named: str
) -> None:
    path = tmp_path / "ranges.json"
    measure_ranges(run, TENSORS, samples, origin(samples), path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | changed))

    with pytest.raises(CalibrationError, match=f"ranges of something else: {named}"):
        measure_ranges(run, TENSORS, samples, origin(samples), path)


def test_ranges_of_other_tensors_are_refused(samples: CalibrationPictures, tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    measure_ranges(run, ("a",), samples, origin(samples), path)

    with pytest.raises(CalibrationError, match="other tensors"):
        measure_ranges(run, TENSORS, samples, origin(samples), path)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_what_is_no_ranges_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "ranges.json"
    path.write_bytes(content)

    with pytest.raises(CalibrationError, match="holds no ranges that can be read"):
        Ranges.load(path)


@given(
    st.sampled_from(["format", "method", "samples", "done", "largest", "counts", "thresholds"]),
    st.none() | st.integers() | st.text(max_size=9) | st.lists(st.integers(), max_size=3),
)
def test_a_damaged_field_is_refused_or_means_the_same(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: object
) -> None:
    path = tmp_path_factory.mktemp("field") / "ranges.json"
    Ranges(Origin("0" * 64, "1" * 64, 20, "mse"), 3, {"a": 1.0}).save(path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {field: value}))

    try:
        found = Ranges.load(path)
    except CalibrationError as error:
        assert "holds no ranges" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert getattr(found if hasattr(found, field) else found.origin, field, value) == value


@pytest.mark.parametrize(
    "changed",
    [
        {"done": 999},
        {"done": 20, "largest": {}},
        {"done": 20, "counts": {"a": ZEROS, "b": ZEROS}},
        {"done": 20, "counts": {"a": ZEROS}},
        {"thresholds": {"a": 0.0, "b": 1.0}},
        {"thresholds": {"a": 1.0}},
        {"largest": {"a": 10**400, "b": 1.0}},
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(
    samples: CalibrationPictures, tmp_path: Path, changed: dict[str, object]
) -> None:
    path = tmp_path / "ranges.json"
    Ranges(origin(samples), 16, {"a": 100.0, "b": 10.0}).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    with pytest.raises(CalibrationError, match="holds no ranges that can be read"):
        measure_ranges(run, TENSORS, samples, origin(samples), path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"done": 3', '"done": -3', "done is -3, expected a whole number from 0"),
        ('"done": 3', '"done": 3, "done": 4', "'done'.*each of them once"),
        ('"done": 3', '"dome": 3', "expected a field 'done' in it"),
        ('"done": 3', '"done": 3, "more": 1', "a field in the file is 'more', expected one of"),
        ('"a": 1.0', '"a": -1.0', r"largest\['a'\] is -1.0, expected a number of 0 or more"),
        ('"mse"', '"mode"', "method is 'mode', expected 'entropy' or"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "ranges.json"
    Ranges(Origin("0" * 64, "1" * 64, 20, "mse"), 3, {"a": 1.0}).save(path)
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))

    with pytest.raises(CalibrationError, match=rf"holds no ranges that can be read: .*{said}"):
        Ranges.load(path)


def test_brackets_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    path.write_text("[" * 200_000)

    with pytest.raises(CalibrationError, match="holds no ranges that can be read"):
        Ranges.load(path)


def test_the_smallest_magnitudes_are_counted(samples: CalibrationPictures, tmp_path: Path) -> None:
    def tiny(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return {"a": pixels.astype(np.float32) * np.float32(1e-38)}

    found = measure_ranges(tiny, ("a",), samples, origin(samples), tmp_path / "r.json")

    assert 0 < found.thresholds["a"] <= 255e-38


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_is_named_with_its_picture(
    samples: CalibrationPictures, tmp_path: Path, bad: float
) -> None:
    def broken(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        values = run(pixels)
        values["b"][0, 0, 0, 0] = bad
        return values

    with pytest.raises(CalibrationError, match=r"b holds NaN or infinity on the picture picture"):
        measure_ranges(broken, TENSORS, samples, origin(samples), tmp_path / "r.json")


def test_an_unwritable_file_is_said(samples: CalibrationPictures, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CalibrationError, match="cannot be written"):
        measure_ranges(run, TENSORS, samples, origin(samples), tmp_path / "file" / "r.json")


def test_a_folder_is_made(samples: CalibrationPictures, tmp_path: Path) -> None:
    measure_ranges(run, TENSORS, samples, origin(samples), tmp_path / "new" / "r.json")

    assert Ranges.load(tmp_path / "new" / "r.json").complete


def test_the_hash_is_of_the_pictures_too(samples: CalibrationPictures) -> None:
    changed = samples.pixels.copy()
    changed[3, 0, 0, 0] ^= 1

    assert CalibrationPictures(samples.keys, changed).sha256 != samples.sha256


def with_a_dead_tensor(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    return {"a": pixels.astype(np.float32), "b": np.zeros(pixels.shape, np.float32)}


@pytest.mark.parametrize("method", ["minmax", "entropy", "mse", "percentile"])
def test_a_tensor_that_is_always_zero_has_no_range(
    samples: CalibrationPictures, tmp_path: Path, method: str
) -> None:
    path, source = tmp_path / "ranges.json", origin(samples, method)

    found = measure_ranges(with_a_dead_tensor, TENSORS, samples, source, path)

    assert found.thresholds["b"] == 0.0 < found.thresholds["a"]
    assert measure_ranges(with_a_dead_tensor, TENSORS, samples, source, path) == found


@pytest.mark.parametrize("killed_at", [17, 20, 21, 37])
def test_a_run_with_one_resumes_too(
    samples: CalibrationPictures, tmp_path: Path, killed_at: int
) -> None:
    calls = iter(range(1, 1000))

    def killed(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        if next(calls) == killed_at:
            raise KeyboardInterrupt
        return with_a_dead_tensor(pixels)

    whole, resumed = tmp_path / "whole.json", tmp_path / "resumed.json"
    measure_ranges(with_a_dead_tensor, TENSORS, samples, origin(samples), whole)
    with pytest.raises(KeyboardInterrupt):
        measure_ranges(killed, TENSORS, samples, origin(samples), resumed)

    measure_ranges(killed, TENSORS, samples, origin(samples), resumed)

    assert resumed.read_bytes() == whole.read_bytes()
