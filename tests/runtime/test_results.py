from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from decimal import MAX_EMAX, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_runtime.confidence.probabilities import sigmoid, softmax, to_probabilities
from snow_runtime.errors import GraphError
from snow_runtime.results import Result, TaskResult


def task(*probabilities: float, name: str = "food") -> TaskResult:
    labels = tuple("abcdefgh"[: len(probabilities)])
    return TaskResult(name, labels, np.array(probabilities, np.float32))


def test_the_most_probable_label() -> None:
    answer = task(0.25, 0.5, 0.125, 0.125)
    assert (answer.index, answer.label, answer.probability) == (1, "b", 0.5)


def test_top_descends_and_keeps_the_order_of_equals() -> None:
    answer = task(0.125, 0.5, 0.125, 0.25)
    assert answer.top(3) == [("b", 0.5), ("d", 0.25), ("a", 0.125)]
    assert len(answer.top(99)) == 4
    assert answer.top(0) == []
    with pytest.raises(ValueError, match="-1"):
        answer.top(-1)


def test_a_result_is_a_mapping_in_the_tasks_order() -> None:
    result = Result([task(1.0, name="z"), task(0.25, 0.75, name="a")], 2.5)
    assert list(result) == ["z", "a"]
    assert len(result) == 2
    assert "a" in result
    assert result["a"].label == "b"
    assert result.get("none") is None
    with pytest.raises(KeyError):
        result["none"]
    assert repr(result) == "<Result z='a' 1.000, a='b' 0.750, 2.5 ms>"


def test_to_dict_is_plain_json() -> None:
    result = Result([task(0.25, 0.75)], 2.5)
    assert json.loads(json.dumps(result.to_dict(top=1))) == {
        "latency_ms": 2.5,
        "tasks": {
            "food": {
                "label": "b",
                "index": 1,
                "probability": 0.75,
                "top": [{"label": "b", "probability": 0.75}],
            }
        },
    }
    assert len(result.to_dict()["tasks"]["food"]["top"]) == 2


def naive_softmax(row: list[float]) -> list[float]:
    exponentials = [math.exp(value - max(row)) for value in row]
    return [each / math.fsum(exponentials) for each in exponentials]


@settings(deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda width: st.lists(
            st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=width, max_size=width),
            min_size=1,
            max_size=4,
        )
    )
)
def test_softmax_agrees_with_the_formula_in_float64(rows: list[list[float]]) -> None:
    probabilities = softmax(np.array(rows, np.float32))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(
        probabilities, [naive_softmax(row) for row in rows], rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_have_no_probabilities(bad: float) -> None:
    for sign in (1, -1):
        for answers in ("one", "several") if sign == 1 else ("several",):
            with pytest.raises(GraphError, match="NaN or infinite"):
                to_probabilities(np.array([[0.0, 1.0], [sign * bad, 0.0]], np.float32), answers)


def exact_sigmoid(logit: float) -> Fraction:
    """Compute it with 60 digits, by the formula."""
    with localcontext(prec=60, Emin=-MAX_EMAX, Emax=MAX_EMAX):
        return Fraction(1 / (1 + (-Decimal(logit)).exp()))


@settings(deadline=None)
@given(
    st.lists(
        st.floats(-200, 200, width=32) | st.sampled_from([-3.4e38, 3.4e38, 0.0, -0.0, 1e-45, 88.8]),
        min_size=1,
        max_size=9,
    )
)
def test_sigmoid_agrees_with_the_formula_in_many_digits(row: list[float]) -> None:
    logits = np.array([row], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probabilities = sigmoid(logits)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == logits.shape
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    near = [float(exact_sigmoid(float(value))) for value in np.clip(logits[0], -1e4, 1e4)]
    np.testing.assert_allclose(probabilities[0], near, rtol=1e-6, atol=1e-38)
    order = np.argsort(logits[0], kind="stable")
    assert (np.diff(probabilities[0][order]) >= 0).all()
    assert ((probabilities >= 0.5) >= (logits >= 0)).all()


def test_several_labels_are_present_at_or_above_a_threshold() -> None:
    answer = replace(task(0.5, 0.9, 0.25, 0.9), answers="several")

    assert answer.present() == [("b", pytest.approx(0.9)), ("d", pytest.approx(0.9)), ("a", 0.5)]
    assert answer.present(0.75) == answer.top(2)
    assert answer.present(0) == answer.top(4)
    assert answer.present(1) == []
    assert (answer.label, answer.index) == ("b", 1)
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="expected a probability"):
            answer.present(wrong)


def test_a_result_lists_what_is_present_of_several_labels_only() -> None:
    tags = replace(task(0.75, 0.25, 0.5, name="tags"), answers="several")
    none = replace(task(0.25, 0.125, name="none"), answers="several")
    result = Result([task(0.25, 0.75), tags, none], 2.5)

    found = json.loads(json.dumps(result.to_dict(top=1)))["tasks"]

    assert "present" not in found["food"]
    assert found["tags"] == {
        "label": "a",
        "index": 0,
        "probability": 0.75,
        "top": [{"label": "a", "probability": 0.75}],
        "present": [{"label": "a", "probability": 0.75}, {"label": "c", "probability": 0.5}],
    }
    assert found["none"]["present"] == []
    assert repr(result) == "<Result food='b' 0.750, tags={'a' 0.750, 'c' 0.500}, none={}, 2.5 ms>"
