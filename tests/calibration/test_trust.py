from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_calibration.gate import answers_of, outputs_of
from snow_calibration.pictures import CalibrationPictures, LabelledPictures
from snow_calibration.report import write_calibration_report
from snow_calibration.run import CalibrationSettings, calibrate_and_judge
from snow_calibration.trust import match_fp32, measure_trust
from snow_runtime.confidence.familiarity import unlikenesses
from snow_runtime.confidence.fit_familiarity import KnownPictures, fit_familiarity
from snow_runtime.confidence.probabilities import to_probabilities
from snow_runtime.graph.confidence_entry import ConfidenceEntry
from snow_runtime.graph.onnx_file import read_graph, with_manifest
from tests.runtime.readout.graphs import SIZE, TAPS, feature_graph

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.graph.manifest import Manifest


@pytest.fixture
def trusted(small_graph: Path, tmp_path: Path) -> tuple[Path, Manifest]:
    """Give a graph whose task has a temperature and a least probability."""
    graph = read_graph(small_graph)
    assert graph.manifest is not None
    (task,) = graph.manifest.tasks
    entry = ConfidenceEntry(2.5, 300, "validation", 0.9, 0.3, {"0.9": 0.1})
    manifest = replace(graph.manifest, tasks=(replace(task, confidence=entry),))
    path = tmp_path / "trusted.onnx"
    path.write_bytes(with_manifest(graph.model, manifest).SerializeToString())
    return path, manifest


def test_the_same_graph_keeps_its_temperature(
    trusted: tuple[Path, Manifest], small_samples: CalibrationPictures
) -> None:
    path, manifest = trusted
    found = match_fp32(manifest, path, path, small_samples).tasks[0].confidence
    assert found is not None
    assert found.temperature == pytest.approx(2.5, rel=1e-3)
    assert (found.held_out_from, found.pictures) == ("agreement", 40)
    assert (found.right_share, found.least_probability) == (0.9, 0.3)


def test_without_temperatures_nothing_is_run(
    small_graph: Path, small_samples: CalibrationPictures, tmp_path: Path
) -> None:
    manifest = read_graph(small_graph).manifest
    assert manifest is not None
    missing = tmp_path / "missing.onnx"
    assert match_fp32(manifest, missing, missing, small_samples) is manifest


def test_what_is_given_and_right_is_counted(
    trusted: tuple[Path, Manifest], small_samples: CalibrationPictures
) -> None:
    path, manifest = trusted
    targets = np.arange(len(small_samples)) % 5
    truth = {"food": LabelledPictures(small_samples.pixels, targets)}
    answers = answers_of(path, truth)
    scaled = answers["food"].astype("f8") / 2.5
    share = np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)
    least = float(np.median(share.max(1)))
    (task,) = manifest.tasks
    assert task.confidence is not None
    confidence = replace(task.confidence, least_probability=least)
    manifest = replace(manifest, tasks=(replace(task, confidence=confidence),))

    (found,) = measure_trust("fp32", answers, truth, manifest)

    given = share.max(1) >= least
    assert found.temperature == 2.5
    assert found.given == pytest.approx(given.mean())
    assert found.right == pytest.approx((share.argmax(1) == targets)[given].mean())
    squares = np.square(share - np.eye(share.shape[1])[targets]).sum(1).mean()
    assert found.reliability.brier == pytest.approx(squares, rel=1e-4)
    assert measure_trust("fp16", {}, truth, manifest) == ()
    answers["food"][0, 0] = np.nan
    assert measure_trust("int8", answers, truth, manifest) == ()


def test_an_int8_graph_gets_a_temperature_of_its_own_and_the_report_says_how_reliable_it_is(
    trusted: tuple[Path, Manifest],
    small_samples: CalibrationPictures,
    small_truth: dict[str, LabelledPictures],
    tmp_path: Path,
) -> None:
    path, _ = trusted
    output = tmp_path / "snow.int8.onnx"
    settings = CalibrationSettings(tmp_path / "r.json", "minmax", max_drop=100)

    report = calibrate_and_judge(path, output, small_samples, small_truth, settings)

    written = read_graph(output).manifest
    assert written is not None
    found = written.tasks[0].confidence
    assert found is not None
    assert found.held_out_from == "agreement"
    assert found.temperature != 2.5
    assert found.temperature == pytest.approx(2.5, rel=0.2)
    assert [each.precision for each in report.trust] == ["fp32", "fp16", "int8"]
    assert [each.temperature for each in report.trust] == [2.5, 2.5, found.temperature]
    # Its probabilities are fp32's, as far as rounding lets them.
    before, after = (answers_of(each, small_truth)["food"] for each in (path, output))
    apart = np.abs(
        to_probabilities(after, "one", found.temperature) - to_probabilities(before, "one", 2.5)
    )
    assert apart.mean() < 0.02
    lines = [line for line in report.lines() if line.startswith("food in int8: temperature ")]
    assert len(lines) == 1
    document, picture = write_calibration_report(report, tmp_path / "report.json")
    assert json.loads(document.read_text())["trust"][2]["reliability"]["bins"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_pictures_look_like_moves_with_the_features(tmp_path: Path) -> None:
    """A graph whose features are others by as much as INT8's: the bound holds on its own."""
    pixels = np.random.default_rng(0).integers(60, 200, (120, SIZE, SIZE, 3), dtype=np.uint8)
    plain = feature_graph(tmp_path / "plain.onnx")
    features = plain.features(pixels[:80]).astype("f4")
    logits = np.random.default_rng(1).normal(0, 1, (80, 2))
    look = fit_familiarity(KnownPictures(features, logits, np.ones(80, np.bool_)), TAPS)
    (task,) = plain.manifest.tasks
    entry = ConfidenceEntry(1.5, 80, "training", familiarity=look)
    manifest = replace(plain.manifest, tasks=(replace(task, confidence=entry),))
    before = feature_graph(tmp_path / "before.onnx", manifest)
    rounded = feature_graph(tmp_path / "rounded.onnx", manifest)
    model = read_graph(rounded.path).model
    (weight,) = (each for each in model.graph.initializer if each.name == "w")
    steps = np.frombuffer(weight.raw_data, "<f4")
    weight.raw_data = (np.round(steps * 4) / 4).astype("<f4").tobytes()
    rounded.path.write_bytes(model.SerializeToString())
    samples = CalibrationPictures(tuple(f"{n:03}" for n in range(80)), pixels[:80])

    moved = match_fp32(manifest, before.path, rounded.path, samples)

    old, new = (each.tasks[0].confidence for each in (manifest, moved))
    assert old is not None
    assert new is not None
    assert old.familiarity is not None
    assert new.familiarity is not None
    assert new.familiarity.distance != old.familiarity.distance
    assert new.familiarity.space == old.familiarity.space
    found = []
    for path, each in ((before.path, old.familiarity), (rounded.path, new.familiarity)):
        given = outputs_of(path, pixels[80:])
        found.append(unlikenesses(each, given["source.features"], TAPS, given["food"]))
    np.testing.assert_allclose(found[1].mean(), found[0].mean(), atol=0.15)
