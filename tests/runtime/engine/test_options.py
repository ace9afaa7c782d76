from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.engine.options import BuildOptions
from snow_runtime.errors import EngineError, ManifestError

BATCH = st.none() | st.integers(1, 16)


@pytest.mark.parametrize(
    ("given_sizes", "expected"),
    [
        ((None, None, None), (1, 1, 1)),
        ((None, None, 8), (1, 8, 8)),
        ((None, 4, None), (1, 4, 4)),
        ((2, None, None), (2, 2, 2)),
        ((1, 4, 8), (1, 4, 8)),
    ],
)
def test_batches_left_open(given_sizes: Any, expected: tuple[int, int, int]) -> None:
    least, best, most = given_sizes

    options = BuildOptions(min_batch=least, opt_batch=best, max_batch=most)

    assert options.batches == expected


@pytest.mark.parametrize("sizes", [(4, 2, 8), (1, 9, 8), (0, 1, 1), (1, 1, 5000)])
def test_batches_out_of_order(sizes: tuple[int, int, int]) -> None:
    least, best, most = sizes

    with pytest.raises(EngineError, match="Give --min-batch, --opt-batch and --max-batch in that"):
        BuildOptions(min_batch=least, opt_batch=best, max_batch=most)


def test_the_accelerator_does_not_compute_in_fp32() -> None:
    with pytest.raises(EngineError, match="Give --fp16 or --int8"):
        BuildOptions("fp32", dla=0)


def test_targets_are_a_set() -> None:
    options = BuildOptions(targets=("sm120", "sm86", "sm86"))

    assert options.targets == ("sm86", "sm120")
    assert options == BuildOptions(targets=("sm86", "sm120"))


def test_what_is_left_open_is_resolved() -> None:
    assert BuildOptions().resolved("fp16", None, ("sm86",)) == BuildOptions(
        "fp16", ("sm86",), 1, 1, 1
    )
    assert BuildOptions("fp16", ("sm89",)).resolved("fp16", 4, ("sm86",)).batches == (4, 4, 4)
    with pytest.raises(EngineError, match="takes batches of 4 only"):
        BuildOptions(max_batch=8).resolved("fp16", 4, ())


@given(least=BATCH, best=BATCH, most=BATCH)
def test_resolved_options_stay_as_they_are(
    least: int | None, best: int | None, most: int | None
) -> None:
    try:
        options = BuildOptions(min_batch=least, opt_batch=best, max_batch=most)
    except EngineError:
        return
    resolved = options.resolved("fp16", None, ())

    assert resolved.batches == options.batches
    assert resolved.resolved("fp16", None, ("sm86",)).batches == options.batches
    assert BuildOptions.from_dict("options", resolved.to_dict()) == resolved


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("precision", "fp8"),
        ("targets", ["86"]),
        ("targets", "sm86"),
        ("max_batch", "4"),
        ("strip_weights", 1),
        ("dla", -1),
        ("least_share", None),
        ("colour", "red"),
    ],
)
def test_a_table_that_is_none_of_ours(field: str, value: object) -> None:
    with pytest.raises(ManifestError):
        BuildOptions.from_dict("options", {**BuildOptions().to_dict(), field: value})
