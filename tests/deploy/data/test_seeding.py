from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_deploy.data.seeding import Draws, keyed_bits, keyed_permutation, keyed_seed

seeds = st.integers(min_value=-(2**63), max_value=2**64 - 1)


def test_the_streams_are_the_same_on_every_machine() -> None:
    assert keyed_seed("augment", 0, 0, 0) == 8105182775834197017
    assert keyed_seed("augment", 7, 3, 11) == 6518083082290737724
    assert keyed_permutation(8, "shuffle", 5, 2).tolist() == [5, 0, 1, 2, 6, 3, 7, 4]


@settings(deadline=None)
@given(key=st.lists(seeds, min_size=1, max_size=3), place=st.integers(0, 2))
def test_every_part_of_the_key_counts(key: list[int], place: int) -> None:
    other = list(key)
    other[place % len(key)] ^= 1
    assert keyed_seed("a", *key) == keyed_seed("a", *key)
    assert keyed_seed("a", *key) != keyed_seed("a", *other)
    assert keyed_seed("a", *key) != keyed_seed("b", *key)


@settings(deadline=None)
@given(length=st.integers(0, 200), seed=seeds)
def test_a_permutation_holds_every_index_once(length: int, seed: int) -> None:
    assert sorted(keyed_permutation(length, "p", seed).tolist()) == list(range(length))


def test_permutations_are_even() -> None:
    firsts = np.bincount([keyed_permutation(4, "p", seed)[0] for seed in range(4000)])
    np.testing.assert_allclose(firsts, 1000, atol=130)  # about five standard deviations


@settings(deadline=None)
@given(seed=seeds)
def test_draws_agree_with_numpys_generator(seed: int) -> None:
    expected = np.random.Generator(keyed_bits("d", seed)).random(100)
    draws = Draws(keyed_bits("d", seed))
    assert [draws.between(0, 1) for _ in range(100)] == expected.tolist()


@settings(deadline=None)
@given(count=st.integers(0, 100))
def test_bytes_are_the_raw_stream(count: int) -> None:
    raw = keyed_bits("b", count).random_raw(13)
    expected = b"".join(int(word).to_bytes(8, "little") for word in np.asarray(raw))
    assert Draws(keyed_bits("b", count)).bytes(count).tobytes() == expected[:count]


@pytest.mark.parametrize("limit", [1, 6, 10])
def test_below_is_even(limit: int) -> None:
    draws = Draws(keyed_bits("e", limit))
    counts = np.bincount([draws.below(limit) for _ in range(1000 * limit)], minlength=limit)
    assert len(counts) == limit
    np.testing.assert_allclose(counts, 1000, atol=160)
