from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from snow_runtime.confidence.probabilities import to_probabilities
from snow_runtime.confidence.temperature import (
    FEWEST_PICTURES,
    HIGHEST,
    LOWEST,
    fit_temperature,
    match_temperature,
)


def drawn(temperature: float, pictures: int = 4000, labels: int = 5) -> tuple[np.ndarray, ...]:
    """Logits that are `temperature` times as sure as the truth is drawn by."""
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, (pictures, labels))
    share = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    targets = (rng.random((pictures, 1)) > share.cumsum(1)).sum(1)
    return (honest * temperature).astype("f4"), targets.clip(0, labels - 1), honest


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_it_undoes_what_made_logits_too_sure(temperature: float) -> None:
    logits, targets, _ = drawn(temperature)
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.06)


def test_it_is_where_scipy_finds_the_least_loss() -> None:
    """The softened targets vanish among many pictures; the loss is written out here."""
    logits, targets, _ = drawn(2.5)

    def loss(log_t: float) -> float:
        values = log_softmax(logits.astype("f8") / np.exp(log_t), axis=1)
        return -float(values[np.arange(len(values)), targets].mean())

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-7})
    assert fit_temperature(logits, targets) == pytest.approx(np.exp(found.x), rel=0.01)


def test_of_several_labels_each_is_a_question_of_its_own() -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 2, (3000, 3))
    present = rng.random(honest.shape) < 1 / (1 + np.exp(-honest))
    assert fit_temperature((honest * 4).astype("f4"), present) == pytest.approx(4, rel=0.06)


def test_pictures_that_are_all_answered_rightly_make_no_answer_certain() -> None:
    targets = np.arange(40) % 4
    logits = np.eye(4, dtype="f4")[targets]
    temperature = fit_temperature(logits, targets)
    assert LOWEST < temperature < 1
    top = to_probabilities(logits, "one", temperature).max()
    assert top == pytest.approx(1 - 1 / 42 * 3 / 4, abs=1e-4)


def test_too_few_pictures_change_nothing() -> None:
    logits, targets, _ = drawn(3.0, FEWEST_PICTURES - 1)
    assert fit_temperature(logits, targets) == 1


def test_answers_that_are_no_better_than_chance_become_as_unsure_as_may_be() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 30, (500, 4)).astype("f4")
    assert fit_temperature(logits, rng.integers(0, 4, 500)) == pytest.approx(HIGHEST, rel=1e-3)


@pytest.mark.parametrize("several", [False, True])
def test_another_graphs_probabilities_are_matched_without_labels(several: bool) -> None:
    logits, _, honest = drawn(2.0)
    rounded = np.round(logits * 1.7, 1).astype("f4")
    found = match_temperature(rounded, honest.astype("f4"), several=several)
    assert found == pytest.approx(2.0 * 1.7, rel=0.01)


@given(
    st.lists(
        st.lists(st.floats(-60, 60, width=32), min_size=3, max_size=3), min_size=1, max_size=4
    ),
    st.floats(LOWEST, HIGHEST),
)
@settings(max_examples=60, deadline=None)
def test_no_temperature_changes_an_answer(rows: list[list[float]], temperature: float) -> None:
    """What had the largest logit has the largest probability, and yes stays yes."""
    logits = np.array(rows, np.float32)
    found = to_probabilities(logits, "one", temperature)
    best = found[np.arange(len(found)), logits.argmax(1)]
    assert (best == found.max(1)).all()
    yes = to_probabilities(logits, "several", temperature) >= 0.5
    assert (yes[logits >= 0]).all()
    assert not (yes[logits < -1e-3]).any()


def test_where_no_temperature_changes_anything_it_is_one() -> None:
    rng = np.random.default_rng(0)
    one_label = rng.normal(0, 3, (40, 1)).astype(np.float32)
    assert fit_temperature(one_label, np.zeros(40, np.int64)) == 1
    indifferent = np.full((40, 3), 7.0, np.float32)
    assert fit_temperature(indifferent, rng.integers(0, 3, 40)) == 1
    assert match_temperature(indifferent, indifferent) == 1
    nothing = np.zeros((40, 3), np.float32)
    assert fit_temperature(nothing, rng.random((40, 3)) < 0.5) == 1
    assert fit_temperature(indifferent, rng.random((40, 3)) < 0.5) == HIGHEST  # 7 is sure
