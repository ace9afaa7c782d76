from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_calibration.gate import answers_of
from snow_calibration.pictures import LabelledPictures
from snow_calibration.trust import match_fp32, measure_trust
from snow_runtime.graph.confidence_entry import ConfidenceEntry
from snow_runtime.graph.onnx_file import read_graph, with_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_calibration.pictures import CalibrationPictures
    from snow_runtime.graph.manifest import Manifest


@pytest.fixture
def trusted(float_graph: Callable[..., Path], tmp_path: Path) -> tuple[Path, Manifest]:
    """Give a graph whose first task has a temperature and a least probability."""
    graph = read_graph(float_graph())
    assert graph.manifest is not None
    first, *others = graph.manifest.tasks
    entry = ConfidenceEntry(2.5, 300, "validation", 0.9, 0.5, {"0.9": 0.1})
    manifest = replace(graph.manifest, tasks=(replace(first, confidence=entry), *others))
    path = tmp_path / "trusted.onnx"
    path.write_bytes(with_manifest(graph.model, manifest).SerializeToString())
    return path, manifest


def test_the_same_graph_keeps_its_temperature(
    trusted: tuple[Path, Manifest], samples: CalibrationPictures
) -> None:
    path, manifest = trusted
    found = match_fp32(manifest, path, path, samples)
    first, other = found.tasks[0].confidence, found.tasks[1].confidence
    assert first is not None
    assert first.temperature == pytest.approx(2.5, rel=1e-3)
    assert (first.held_out_from, first.pictures) == ("agreement", 20)
    assert (first.right_share, first.least_probability) == (0.9, 0.5)
    assert other is None


def test_without_temperatures_nothing_is_run(
    float_graph: Callable[..., Path], samples: CalibrationPictures, tmp_path: Path
) -> None:
    manifest = read_graph(float_graph()).manifest
    assert manifest is not None
    missing = tmp_path / "missing.onnx"
    assert match_fp32(manifest, missing, missing, samples) is manifest


def test_what_is_given_and_right_is_counted(
    trusted: tuple[Path, Manifest], samples: CalibrationPictures
) -> None:
    path, manifest = trusted
    name = manifest.tasks[0].name
    targets = np.arange(len(samples)) % len(manifest.tasks[0].labels)
    truth = {name: LabelledPictures(samples.pixels, targets)}
    answers = answers_of(path, truth)
    (found,) = measure_trust("fp32", answers, truth, manifest)

    scaled = answers[name].astype("f8") / 2.5
    share = np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)
    given = share.max(1) >= 0.5
    assert found.temperature == 2.5
    assert found.given == pytest.approx(given.mean())
    if given.any():
        assert found.right == pytest.approx((share.argmax(1) == targets)[given].mean())
    squares = np.square(share - np.eye(share.shape[1])[targets]).sum(1).mean()
    assert found.reliability.brier == pytest.approx(squares, rel=1e-4)
    assert measure_trust("fp16", {}, truth, manifest) == ()
    answers[name][0, 0] = np.nan
    assert measure_trust("int8", answers, truth, manifest) == ()
