from __future__ import annotations

import numpy as np
import pytest

from snow_runtime.confidence.conformal import LEVELS, bound_at, set_bounds
from snow_runtime.graph.confidence_entry import ConfidenceEntry
from snow_runtime.results import TaskResult


def drawn(pictures: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are too sure, and what is right: exchangeable, but not calibrated."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (pictures, 6))
    honest = np.exp(logits / 2) / np.exp(logits / 2).sum(1, keepdims=True)
    targets = (rng.random((pictures, 1)) > honest.cumsum(1)).sum(1).clip(0, 5)
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), targets


def test_the_right_label_is_in_the_set_as_often_as_is_said() -> None:
    """Over many draws of held-out pictures: at least the level, and hardly more."""
    covered = dict.fromkeys(LEVELS, 0.0)
    new, right = drawn(4000, 10_000)
    for seed in range(80):
        bounds = set_bounds(*drawn(120, seed))
        for level in LEVELS:
            found = new[np.arange(len(new)), right] >= bound_at(bounds, level)
            covered[level] += found.mean() / 80
    for level in LEVELS:
        assert level - 0.01 <= covered[level] <= level + 0.025


def test_against_mapie() -> None:
    mapie = pytest.importorskip("mapie.classification")
    probabilities, targets = drawn(300, 1)
    new, _ = drawn(50, 2)

    class Known:
        classes_ = np.arange(6)

        def fit(self, *_: object) -> Known:
            return self

        def predict_proba(self, rows: np.ndarray) -> np.ndarray:
            return rows

        def predict(self, rows: np.ndarray) -> np.ndarray:
            return np.asarray(rows.argmax(1))

        def __sklearn_is_fitted__(self) -> bool:
            return True

    judge = mapie.SplitConformalClassifier(
        Known(), confidence_level=0.9, conformity_score="lac", prefit=True
    ).conformalize(probabilities, targets)
    _, expected = judge.predict_set(new)
    found = new >= bound_at(set_bounds(probabilities, targets), 0.9)
    np.testing.assert_array_equal(found, expected[:, :, 0])


def test_a_level_needs_enough_pictures() -> None:
    assert set(set_bounds(*drawn(98, 0))) == {"0.8", "0.9", "0.95"}
    assert set(set_bounds(*drawn(99, 0))) == {"0.8", "0.9", "0.95", "0.99"}
    assert set_bounds(*drawn(3, 0)) == {}


def test_between_two_levels_the_higher_serves_and_above_all_labels() -> None:
    bounds = {"0.8": 0.5, "0.95": 0.1}
    assert [bound_at(bounds, level) for level in (0.5, 0.8, 0.81, 0.95, 0.96)] == [
        *(0.5, 0.5, 0.1, 0.1, 0.0)
    ]


def result(*probabilities: float, sets: dict[str, float], answers: str = "one") -> TaskResult:
    entry = ConfidenceEntry(1.0, 100, "validation", sets=sets)
    return TaskResult(
        "food",
        tuple("abcdef"[: len(probabilities)]),
        np.array(probabilities, np.float32),
        answers,  # type: ignore[arg-type]
        entry,
    )


def test_labels_at_a_level() -> None:
    answer = result(0.25, 0.5, 0.25, sets={"0.8": 0.5, "0.9": 0.25, "0.95": 0.1})
    assert answer.labels_at(0.8) == ("b",)
    assert answer.labels_at(0.9) == ("b", "a", "c")
    assert answer.labels_at(0.99) == ("b", "a", "c")
    assert result(0.25, 0.5, 0.25, sets={"0.8": 0.9}).labels_at(0.8) == ("b",)
    for level in (0, 1, -0.5):
        with pytest.raises(ValueError, match="between 0 and 1"):
            answer.labels_at(level)
    with pytest.raises(ValueError, match="Several labels"):
        result(0.9, 0.8, sets={}, answers="several").labels_at(0.9)


def test_an_unsure_answer_is_unknown() -> None:
    entry = ConfidenceEntry(1.0, 100, "validation", 0.95, 0.75)
    answers = [
        TaskResult("x", ("a", "b"), np.array([p, 1 - p], np.float32), "one", entry)
        for p in (0.75, 0.7)
    ]
    assert [each.unknown_because for each in answers] == [None, "unsure"]
    assert [each.unknown for each in answers] == [False, True]
