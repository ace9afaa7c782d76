from __future__ import annotations

import base64
import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from snow_runtime.confidence.familiarity import (
    energies,
    last_of_each_width,
    normed_features,
    space_of,
    unlikenesses,
)
from snow_runtime.confidence.fit_familiarity import (
    FEWEST_PICTURES,
    KnownPictures,
    distances_of,
    fit_familiarity,
    rescaled,
)
from snow_runtime.errors import GraphError, ManifestError
from snow_runtime.graph.features_entry import TapEntry

TAPS = (TapEntry("a.0", 40), TapEntry("a.1", 40), TapEntry("b.0", 60))


def drawn(pictures: int, seed: int, *, foreign: bool = False) -> np.ndarray:
    """Features of pictures that vary along five directions; foreign ones along five others."""
    directions = np.random.default_rng(1 if foreign else 0).random((5, 140))
    rng = np.random.default_rng(seed)
    return rng.random((pictures, 5)) @ directions + 0.3 * rng.random((pictures, 140))


def known(pictures: int, seed: int) -> KnownPictures:
    logits = np.random.default_rng(seed).normal(0, 1, (pictures, 3)) + 4 * np.eye(3)[0]
    return KnownPictures(drawn(pictures, seed), logits, np.ones(pictures, np.bool_))


def test_the_last_tap_of_each_width_is_looked_at() -> None:
    assert last_of_each_width(TAPS) == ("a.1", "b.0")
    assert last_of_each_width(TAPS[:1]) == ("a.0",)


@pytest.mark.parametrize("crossed", [True, False])
def test_foreign_pictures_are_unlike_and_held_out_ones_are_not(crossed: bool) -> None:
    entry = fit_familiarity(known(400, 2), TAPS, None if crossed else known(300, 3))
    assert entry is not None
    assert (entry.taps, entry.features, entry.held_out) == (
        ("a.1", "b.0"),
        100,
        400 if crossed else 300,
    )
    new, foreign = known(500, 4), drawn(200, 5, foreign=True)
    assert new.logits is not None
    lost = unlikenesses(entry, new.features.astype("f4"), TAPS, new.logits.astype("f4")) > 1
    assert 0.005 < lost.mean() < 0.09  # 4 % are to be, of 500
    logits = np.full((200, 3), 2.0, "f4")
    assert (unlikenesses(entry, foreign.astype("f4"), TAPS, logits) > 1).mean() > 0.95


def test_against_the_definition_in_double_precision() -> None:
    """The residual beside the principal axes of a singular value decomposition."""
    trained, new = known(300, 2), known(40, 6)
    entry = fit_familiarity(trained, TAPS)
    assert entry is not None
    assert new.logits is not None

    def normed(features: np.ndarray) -> np.ndarray:
        parts = [features[:, 40:80], features[:, 80:]]
        return np.hstack([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts])

    rows = normed(trained.features)
    scale = rows.std(0) + 0.3 * rows.std(0).mean()
    _, _, axes = np.linalg.svd((rows - rows.mean(0)) / scale, full_matrices=False)
    inside = axes[: entry.axes]
    found = (normed(new.features) - rows.mean(0)) / scale
    distance = np.square(found).sum(1) - np.square(found @ inside.T).sum(1)
    np.testing.assert_allclose(distances_of(entry, new.features, TAPS), distance, rtol=0.05)
    mine = (distances_of(entry, new.features, TAPS) - entry.distance[0]) / entry.distance[1]
    mine += (-logsumexp(new.logits, axis=1) - entry.energy[0]) / entry.energy[1]
    np.testing.assert_allclose(
        unlikenesses(entry, new.features.astype("f4"), TAPS, new.logits.astype("f4")),
        np.maximum(0, 1 + mine - entry.bound),
        rtol=1e-3,
        atol=1e-3,
    )


def test_energies_are_scipys() -> None:
    logits = np.random.default_rng(0).normal(0, 300, (20, 7))
    np.testing.assert_allclose(energies(logits), -logsumexp(logits, axis=1))


def test_brightness_alone_makes_no_picture_unlike() -> None:
    """Each tap's features count by their direction, not by their length."""
    features = drawn(5, 3)
    np.testing.assert_allclose(
        normed_features(features, TAPS, ("a.1", "b.0")),
        normed_features(7 * features, TAPS, ("a.1", "b.0")),
        rtol=1e-4,
    )
    assert np.isfinite(normed_features(np.zeros((1, 140)), TAPS, ("b.0",))).all()


def test_the_axes_in_a_byte_each_are_nearly_of_length_one() -> None:
    entry = fit_familiarity(known(300, 2), TAPS)
    assert entry is not None
    axes = space_of(entry).axes
    np.testing.assert_allclose(axes.T @ axes, np.eye(entry.axes), atol=0.02)


def test_a_space_is_kept_as_long_as_its_entry() -> None:
    """A model that is swapped once a day would fill the memory of a small machine."""
    entry = fit_familiarity(known(400, 1), TAPS)
    assert entry is not None
    space = space_of(entry)
    assert space_of(replace(entry)) is space
    kept = weakref.ref(space)
    del space
    assert kept() is not None
    del entry
    gc.collect()
    assert kept() is None


def test_of_several_labels_energies_are_left_out() -> None:
    entry = fit_familiarity(known(200, 2), TAPS, several=True)
    assert entry is not None
    assert entry.energy == ()
    features = drawn(3, 9).astype("f4")
    one, other = (unlikenesses(entry, features, TAPS, np.full((3, 3), n, "f4")) for n in (0, 50))
    np.testing.assert_array_equal(one, other)


def test_another_precision_moves_means_and_deviations() -> None:
    entry = fit_familiarity(known(300, 2), TAPS)
    assert entry is not None
    values = np.random.default_rng(0).normal(5, 2, (2, 50))
    moved = rescaled(entry, (values[0], values[1]), (3 * values[0] + 1, values[1]))
    assert moved.distance == pytest.approx((3 * entry.distance[0] + 1, 3 * entry.distance[1]))
    assert moved.energy == pytest.approx(entry.energy)


def test_too_few_pictures_say_nothing() -> None:
    assert fit_familiarity(known(FEWEST_PICTURES - 1, 2), TAPS) is None
    none_right = replace(known(100, 2), right=np.zeros(100, np.bool_))
    found, expected = (fit_familiarity(each, TAPS) for each in (none_right, known(100, 2)))
    assert found == expected  # all were right there


def test_a_damaged_space_is_refused() -> None:
    entry = fit_familiarity(known(100, 2), TAPS)
    assert entry is not None
    for space in (entry.space[:-8], "no base64", "AAAA"):
        with pytest.raises(ManifestError, match=r"familiarity\.space"):
            replace(entry, space=space)
    content = bytearray(base64.b64decode(entry.space))
    content[:4] = np.float32("nan").tobytes()
    with pytest.raises(ManifestError, match="finite numbers"):
        replace(entry, space=base64.b64encode(content).decode())
    for taps in (TAPS[:2], (*TAPS[:2], TapEntry("b.0", 61))):
        with pytest.raises(ManifestError, match="familiarity"):
            entry.check_taps(taps)
    entry.check_taps(TAPS)
    with pytest.raises(ManifestError, match=r"familiarity\.distance"):
        replace(entry, distance=(1.0, 0.0))


def test_tasks_share_normed_features_of_the_same_taps_alone() -> None:
    same, also = (fit_familiarity(known(300, seed), TAPS) for seed in (2, 3))
    assert same is not None
    assert also is not None
    others = replace(same, taps=("a.0", "b.0"))
    features, logits = drawn(4, 9).astype("f4"), np.zeros((4, 3), "f4")
    normed: dict[tuple[str, ...], np.ndarray] = {}

    for entry in (same, others, also):
        alone = unlikenesses(entry, features, TAPS, logits)
        np.testing.assert_array_equal(unlikenesses(entry, features, TAPS, logits, normed), alone)

    assert normed.keys() == {same.taps, others.taps}


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_an_error_and_not_familiar(wrong: float) -> None:
    entry = fit_familiarity(known(200, 2), TAPS)
    assert entry is not None
    features = drawn(2, 9).astype("f4")
    features[1, 100] = wrong
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(GraphError, match="features that are NaN or infinite"),
    ):
        unlikenesses(entry, features, TAPS, np.zeros((2, 3), "f4"))


def test_pictures_that_are_alike_do_not_say_how_another_precision_spreads() -> None:
    entry = fit_familiarity(known(300, 2), TAPS)
    assert entry is not None
    rng = np.random.default_rng(0)
    alike, rounded = np.full(40, 5.0), 5.5 + 0.1 * rng.random(40)
    moved = rescaled(entry, (alike, alike), (rounded, alike))
    assert moved.distance[1] == entry.distance[1]
    assert moved.distance[0] == pytest.approx(entry.distance[0] + rounded.mean() - 5)
