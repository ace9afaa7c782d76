from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_runtime.errors import GraphError
from snow_runtime.results import Result, TaskResult, softmax


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
    with pytest.raises(GraphError, match="NaN or infinite"):
        softmax(np.array([[0.0, 1.0], [bad, 0.0]], np.float32))
