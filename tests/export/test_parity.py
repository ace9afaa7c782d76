from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_export.errors import ParityError
from snow_export.parity import TaskParity, check_parity, compare_exactly, compare_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-3


def floats(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_tasks_are_compared_one_by_one() -> None:
    reference = {
        "food": floats([1.0, -8.0], [2.0, 4.0]),
        "cars": floats([0.25, 0.5, 0.0], [0.5, 0.25, 0.0]),
    }
    answers = {
        "cars": floats([0.25, 0.5, 0.0], [0.25, 0.5, 0.0]),
        "food": floats([1.0, -8.5], [2.0, 4.25]),
    }

    food, cars = compare_logits(reference, answers)

    assert (food.task, food.max_error, food.scale, food.same_top1) == ("food", 0.5, 8.0, 1.0)
    assert food.relative_error == 0.5 / 8
    assert (cars.task, cars.max_error, cars.scale, cars.same_top1) == ("cars", 0.25, 1.0, 0.5)
    # The second pictures: (0.5, 0.25) against (0.25, 0.5), 2 * 0.125 / 0.3125.
    assert cars.cosine == pytest.approx(0.8)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_the_tolerance_is_relative_to_the_largest_logit(scale: float) -> None:
    def parity(task: str, error: float) -> TaskParity:
        return TaskParity(task, max_error=error * scale, scale=scale, cosine=1.0, same_top1=1.0)

    check_parity([parity("food", 0.99 * TOLERANCE)], TOLERANCE)

    with pytest.raises(ParityError, match=r"task 'food' answers otherwise .*The graph was not"):
        check_parity([parity("cars", 0.0), parity("food", 1.01 * TOLERANCE)], TOLERANCE)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["reference", "answers", "both"])
def test_what_is_no_number_is_never_close(bad: float, side: str) -> None:
    good, poisoned = {"food": floats([1.0, 2.0])}, {"food": floats([1.0, bad])}
    reference = good if side == "answers" else poisoned
    answers = good if side == "reference" else poisoned

    with pytest.raises(ParityError, match="task 'food' answers with infinity or NaN"):
        check_parity(compare_logits(reference, answers), TOLERANCE)


def test_answers_whose_squares_float32_cannot_hold_are_compared() -> None:
    large = {"food": np.array([[3e30, 4e30], [1.0, 0.0]], np.float32)}
    turned = {"food": np.array([[4e30, -3e30], [1.0, 0.0]], np.float32)}
    (same,), (other,) = compare_logits(large, large), compare_logits(large, turned)
    assert same.cosine == pytest.approx(1)
    assert other.cosine == pytest.approx(0, abs=1e-6)


def test_nothing_to_compare_passes() -> None:
    check_parity(compare_logits({}, {}), TOLERANCE)


def test_an_answer_nearer_to_float64_than_torchs_own_is_right() -> None:
    """Both are off by rounding; two roundings may be twice one apart."""
    exact = {"food": np.array([[1.0, 8.0]])}
    torchs, onnxs = {"food": floats([1.0, 8.08])}, {"food": floats([1.0, 7.96])}

    with pytest.raises(ParityError, match="answers otherwise"):
        check_parity(compare_logits(torchs, onnxs), TOLERANCE)
    (found,) = compare_exactly(exact, torchs, onnxs)
    assert found.rounding == pytest.approx(0.01, rel=1e-3)
    check_parity([found], TOLERANCE)


@pytest.mark.parametrize(("torch_errs", "says"), [(0.001, "in float64"), (0.5, "rounding errors")])
def test_rounding_excuses_neither_another_answer_nor_any_error(
    torch_errs: float, says: str
) -> None:
    exact = {"food": np.array([[1.0, 8.0]])}
    torchs, onnxs = {"food": floats([1.0, 8.0 + 8 * torch_errs])}, {"food": floats([1.0, 7.0])}

    with pytest.raises(ParityError, match=says):
        check_parity(compare_exactly(exact, torchs, onnxs), TOLERANCE)
