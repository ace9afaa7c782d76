"""Accuracies on file, their errors and intervals, against SciPy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from snow_deploy.errors import PlanError
from snow_deploy.plan.accuracy import counted, estimated, stored_accuracies
from tests.deploy.plan.conftest import PICTURES

if TYPE_CHECKING:
    from tests.deploy.plan.conftest import AddVariant


@given(pictures=st.integers(1, 3000), share=st.floats(0, 1))
def test_a_counted_accuracy_has_the_exact_interval(pictures: int, share: float) -> None:
    right = round(share * pictures)

    found = counted(right / pictures, pictures)

    exact = binomtest(right, pictures).proportion_ci(0.95, method="exact")
    assert found.low == pytest.approx(exact.low)
    assert found.high == pytest.approx(exact.high)
    if 0 < right < pictures:
        assert found.error == pytest.approx((found.value * (1 - found.value) / pictures) ** 0.5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_that_none_of_ten_was_wrong_does_not_make_it_sure(value: float) -> None:
    """The interval of Agresti and Coull: two pictures more of either kind."""
    assert counted(value, 10).error == pytest.approx((12 / 14 * 2 / 14 / 14) ** 0.5)


def test_an_estimated_accuracy_stays_within_0_and_1() -> None:
    found = estimated(0.99, 0.02, 40, "cross-validated")

    assert found.high == 1
    assert found.low == pytest.approx(0.99 - 1.96 * 0.02)


def test_a_task_has_what_its_file_says(add: AddVariant) -> None:
    delta = stored_accuracies(add("a", 0.9))
    readout = stored_accuracies(add("b", 0.8, "readout"))

    assert list(delta) == ["held-out"]
    assert (delta["held-out"].pictures, delta["held-out"].kind) == (PICTURES, "test")
    assert list(readout) == ["held-out", "cross-validated"]
    found = readout["cross-validated"]
    assert found.value == pytest.approx(0.79)
    assert (found.error, found.pictures) == (0.02, 300)


def test_validation_data_is_called_so(add: AddVariant) -> None:
    record = add("a", 0.9)
    splits = {"train": record.splits["train"], "val": record.splits["test"]}

    found = stored_accuracies(replace(record, splits=splits))["held-out"]

    assert (found.kind, found.pictures) == ("validation", PICTURES)


def test_without_noted_splits_nothing_is_known_of_the_error(add: AddVariant) -> None:
    found = stored_accuracies(replace(add("a", 0.9), splits={}))["held-out"]

    assert (found.error, found.low, found.high, found.pictures) == (None, None, None, None)


def test_of_several_labels_the_exact_match_counts(add: AddVariant) -> None:
    record = replace(add("a", 0.9), answers="several")
    metrics = {"accuracy": 0.95, "exact_match": 0.7, "cross_validated_accuracy": 0.94}

    found = stored_accuracies(replace(record, metrics=metrics))

    assert {basis: it.value for basis, it in found.items()} == {"held-out": 0.7}


@pytest.mark.parametrize("metrics", [{}, {"loss": 1.0}])
def test_a_task_without_an_accuracy_is_refused(add: AddVariant, metrics: dict[str, float]) -> None:
    with pytest.raises(PlanError, match="'a' has no accuracy on file"):
        stored_accuracies(replace(add("a", 0.9), metrics=metrics))


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1])
def test_what_is_no_share_is_refused(add: AddVariant, value: float) -> None:
    with pytest.raises(PlanError, match="expected a share from 0 to 1"):
        stored_accuracies(replace(add("a", 0.9), metrics={"accuracy": value}))
