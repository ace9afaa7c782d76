from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snow_runtime.errors import ManifestError
from snow_runtime.graph import field_checks


def test_numpy_numbers_become_pythons_own() -> None:
    assert type(field_checks.integer("x", np.int64(3))) is int
    assert type(field_checks.number("x", np.float32(0.5))) is float
    assert field_checks.selection("x", [np.int64(1), np.int64(4)]) == (1, 4)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 2**70])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ManifestError, match=r"where is .*, expected a whole number from 0 to"):
        field_checks.integer("where", value)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 10**400])
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(ManifestError, match="expected a finite number"):
        field_checks.number("where", value)


@pytest.mark.parametrize("value", [[], [3, 3], [4, 3], [-1, 2], [0.5], "12", {1: 2}])
def test_a_selection_ascends_from_zero_without_repetition(value: Any) -> None:
    with pytest.raises(ManifestError):
        field_checks.selection("where", value)


@pytest.mark.parametrize("value", [True, 1.0, 2, "1"])
def test_a_choice_has_the_type_of_its_choices(value: object) -> None:
    with pytest.raises(ManifestError, match="expected 1"):
        field_checks.choice("where", value, (1,))


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ManifestError) as caught:
        field_checks.sha256("where", "z" * 10_000)
    assert len(str(caught.value)) < 300
