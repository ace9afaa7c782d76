"""Whether a tensor is finite, against numpy's answer."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snow_deploy.models.finite_values import all_finite
from snow_deploy.models.source_weights import hash_tensors


@given(
    st.lists(st.floats(width=16), max_size=40),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_any_values_of_any_precision(values: list[float], dtype: torch.dtype) -> None:
    tensor = torch.tensor(values, dtype=dtype)
    assert all_finite(tensor) == bool(np.isfinite(tensor.double().numpy()).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 7, 4999])
def test_one_bad_value_anywhere(bad: float, place: int) -> None:
    tensor = torch.full((50, 100), torch.finfo(torch.float32).max)
    assert all_finite(tensor)
    tensor.view(-1)[place] = bad
    assert not all_finite(tensor)
    assert not all_finite(tensor.T)


@pytest.mark.parametrize("tensor", [torch.zeros(0, 3), torch.tensor(3), torch.tensor([True])])
def test_counters_and_nothing_at_all(tensor: torch.Tensor) -> None:
    assert all_finite(tensor)


def test_the_hash_of_scalars_and_empty_tensors_is_of_their_bytes() -> None:
    state = {"a": torch.tensor(3), "b": torch.zeros(0, 3), "c": torch.ones(2, 2).T}
    digest = hashlib.sha256(b"p")
    for name, tensor in state.items():
        facts = [name, str(tensor.dtype), list(tensor.shape)]
        digest.update(json.dumps(facts).encode() + tensor.contiguous().numpy().tobytes())
    assert hash_tensors(state, "p") == digest.hexdigest()
