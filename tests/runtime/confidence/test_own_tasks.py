"""A graph's own tasks whose manifest says how far they can be trusted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_deploy.cli.run_options import RunOptions
from snow_runtime import model as model_module
from snow_runtime.confidence.familiarity import unlikenesses
from snow_runtime.confidence.fit_familiarity import KnownPictures, fit_familiarity
from snow_runtime.errors import ManifestError
from snow_runtime.graph.confidence_entry import ConfidenceEntry
from snow_runtime.graph.features_entry import FeaturesEntry
from snow_runtime.graph.manifest import Manifest
from snow_runtime.model import load
from tests.runtime.readout.graphs import SIZE, TAPS, FeatureGraph, feature_graph, manifest_of

if TYPE_CHECKING:
    from pathlib import Path


def trusted(manifest: Manifest, **more: object) -> Manifest:
    entry = ConfidenceEntry(2.0, 100, "training", **more)  # type: ignore[arg-type]
    tasks = tuple(replace(task, confidence=entry) for task in manifest.tasks)
    return replace(manifest, tasks=tasks)


def pictures(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(90, 160, (count, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def known(tmp_path: Path) -> FeatureGraph:
    """Give a graph that says what its pictures look like."""
    plain = feature_graph(tmp_path / "plain.onnx")
    features = plain.features(pictures(80, 0)).astype("f4")
    logits = np.random.default_rng(1).normal(0, 1, (80, 2))
    look = fit_familiarity(KnownPictures(features, logits, np.ones(80, np.bool_)), TAPS)
    manifest = trusted(manifest_of(), familiarity=look)
    return feature_graph(tmp_path / "known.onnx", manifest)


def test_probabilities_are_those_of_the_logits_over_the_temperature(tmp_path: Path) -> None:
    plain = feature_graph(tmp_path / "plain.onnx")
    cool = feature_graph(tmp_path / "cool.onnx", trusted(manifest_of()))
    picture = pictures(1, 3)[0]
    with load(plain.path) as one, load(cool.path) as other:
        before, after = one(picture)["food"], other(picture)["food"]
    odds = np.log(before.probabilities / before.probabilities[::-1])
    np.testing.assert_allclose(
        np.log(after.probabilities / after.probabilities[::-1]), odds / 2, rtol=1e-4
    )
    assert before.label == after.label
    assert (after.unlikeness, after.unknown) == (None, False)


def test_a_manifest_keeps_it_and_one_from_before_has_the_temperature_1(
    known: FeatureGraph,
) -> None:
    text = known.manifest.to_json()
    assert Manifest.from_json(text) == known.manifest
    with pytest.raises(ManifestError, match="familiarity"):
        replace(known.manifest, features=FeaturesEntry("source.features", TAPS[:1]))
    old = manifest_of().to_json()
    assert "confidence" not in old
    assert Manifest.from_json(old).tasks[0].temperature == 1


def test_a_graph_with_features_tells_how_unlike_a_picture_is(known: FeatureGraph) -> None:
    batch = pictures(3, 4)
    with load(known.path) as model:
        answers = [result["food"] for result in model.batch(list(batch))]
        features = model.features(list(batch))
        logits = model.session.run(model.prepare(list(batch)).batch)["food"]
    entry = known.manifest.tasks[0].confidence
    assert entry is not None
    assert entry.familiarity is not None
    expected = unlikenesses(entry.familiarity, features, TAPS, logits)
    found = [each.unlikeness or 0.0 for each in answers]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_who_does_not_want_it_does_not_pay_for_it(
    known: FeatureGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[object] = []
    monkeypatch.setattr(model_module, "task_unlikenesses", lambda *all_: computed.append(all_))
    with load(known.path, unlikeness=False) as model:
        answer = model(pictures(1, 4)[0])["food"]
        assert (answer.unlikeness, computed) == (None, [])
    with load(known.path) as model:
        model(pictures(1, 4)[0])
        assert len(computed) == 1
    wanted = RunOptions.for_load
    assert [wanted(options(unknown), known.path)["unlikeness"] for unknown in (True, False)] == [
        True,
        False,
    ]


def options(unknown: bool) -> Any:
    return SimpleNamespace(threads=None, rebuild=False, unknown=unknown)


def test_a_graph_without_features_answers_all_the_same(known: FeatureGraph, tmp_path: Path) -> None:
    deaf = replace(known.manifest, features=None, self_check=None)
    graph = feature_graph(tmp_path / "deaf.onnx", deaf)
    with load(graph.path) as model:
        answer = model(pictures(1, 4)[0])["food"]
    assert (answer.unlikeness, answer.unknown_because) == (None, None)
