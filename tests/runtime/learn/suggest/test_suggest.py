"""Suggestions against formulas written out picture by picture, scikit-learn and SciPy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.learn.suggest import vote
from snow_runtime.learn.suggest.alike import NEAR, groups_alike
from snow_runtime.learn.suggest.distances import directions, distances, sketched, typical_distance
from snow_runtime.learn.suggest.next_useful import most_useful_first

if TYPE_CHECKING:
    from numpy.typing import NDArray


def scattered(seed: int, size: int, channels: int = 6) -> NDArray[np.float32]:
    """Draw pooled features, which are never negative."""
    return np.random.default_rng(seed).gamma(0.5, size=(size, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    datasets = pytest.importorskip("sklearn.datasets")
    pictures, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[:900]
    return directions(pictures[order]), labels[order]


def test_distances_are_those_of_scipy() -> None:
    spatial: Any = pytest.importorskip("scipy.spatial.distance")
    one, other = scattered(0, 30), scattered(1, 20)
    found = distances(directions(one), directions(other))
    np.testing.assert_allclose(found, spatial.cdist(one, other, "cosine"), atol=1e-5)
    between = distances(directions(one), directions(one))
    assert typical_distance(between) == pytest.approx(np.median(spatial.pdist(one, "cosine")), 1e-4)


def test_features_that_are_none_are_far_from_all() -> None:
    given = np.array([[np.nan, 1, 0], [0, 0, 0], [np.inf, 0, 3]], np.float16)
    found = directions(given)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(distances(found, found)[1], 1)
    assert typical_distance(np.zeros((0, 0), np.float32)) == 1.0
    assert typical_distance(np.zeros((5, 5), np.float32)) > 0  # all alike: still no division by 0


@pytest.mark.parametrize("labelled", [1, 3, 40])
def test_neighbours_vote_as_the_formula_says(labelled: int) -> None:
    to_labelled = distances(directions(scattered(2, 25)), directions(scattered(3, labelled)))
    label_of = np.random.default_rng(4).integers(0, 3, labelled)
    found = vote.neighbours_say(to_labelled, label_of, 4, 0.4)

    for row, shares in zip(to_labelled, found, strict=True):
        nearest = sorted(range(labelled), key=lambda n: row[n])[: vote.NEAREST]
        votes = [0.0] * 4
        for n in nearest:
            votes[label_of[n]] += math.exp(-(row[n] - row[nearest[0]]) / (0.4 * vote.VOTE_REACH))
        worth = sum(math.exp(-row[n] / (0.4 * vote.WORTH_REACH)) for n in nearest)
        expected = [(worth * v / sum(votes) + 0.25) / (worth + 1) for v in votes]
        np.testing.assert_allclose(shares, expected, rtol=1e-4)


def test_without_labels_or_far_from_them_nothing_is_known() -> None:
    nothing = vote.neighbours_say(np.zeros((2, 0), np.float32), np.zeros(0, np.int64), 4, 1.0)
    np.testing.assert_allclose(nothing, 0.25)
    far = vote.neighbours_say(np.full((1, 9), 2, np.float32), np.zeros(9, np.int64), 4, 0.1)
    np.testing.assert_allclose(far, 0.25, atol=1e-6)
    one = vote.neighbours_say(np.zeros((1, 1), np.float32), np.zeros(1, np.int64), 2, 0.1)
    np.testing.assert_allclose(one, [[0.75, 0.25]])


def test_sure_suggestions_are_right_on_digits(
    digits: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    neighbours = pytest.importorskip("sklearn.neighbors")
    features, labels = digits
    typical = typical_distance(distances(features, features))
    to_labelled = distances(features[200:], features[:200])
    shares = vote.neighbours_say(to_labelled, labels[:200], 10, typical)
    right = shares.argmax(1) == labels[200:]
    sure = shares.max(1) > 0.8

    plain = neighbours.KNeighborsClassifier(vote.NEAREST, metric="cosine", weights="distance")
    plain.fit(features[:200], labels[:200])
    assert right.mean() >= plain.score(features[200:], labels[200:]) - 0.01
    assert sure.mean() > 0.3
    assert right[sure].mean() > 0.99


def test_a_model_and_neighbours_that_disagree_leave_doubt() -> None:
    neighbours = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]], np.float32)
    model = np.array([[0.9, 0.1], [0.1, 0.9], [np.nan, np.nan]], np.float32)
    found = vote.mean_opinion(neighbours, model)
    np.testing.assert_allclose(found, [[0.9, 0.1], [0.5, 0.5], [0.9, 0.1]])
    np.testing.assert_allclose(vote.doubt(found), [0.2, 1.0, 0.2], atol=1e-6)
    assert vote.mean_opinion(neighbours, None) is neighbours
    np.testing.assert_allclose(vote.doubt(np.ones((2, 1), np.float32)), 1)


@pytest.mark.parametrize("radius", [0.05, 0.3, 0.8])
def test_groups_are_those_taken_one_by_one(radius: float) -> None:
    between = distances(*[directions(scattered(5, 60))] * 2)
    left, expected = list(range(60)), []
    while left:
        middle = max(left, key=lambda i: (sum(between[i, j] <= radius for j in left), -i))
        taken = {j for j in left if between[middle, j] <= radius} | {middle}
        expected.append((middle, taken))
        left = [j for j in left if j not in taken]
    found = groups_alike(between, radius)

    assert [(group[0], set(group)) for group in found] == expected
    assert sorted(place for group in found for place in group) == list(range(60))
    for group in found:
        along = between[group[0], group[1:]]
        assert (along <= radius).all()
        assert (np.diff(along) >= 0).all()


def test_a_scene_that_changes_slowly_is_no_single_group() -> None:
    hierarchy: Any = pytest.importorskip("scipy.cluster.hierarchy")
    turn = np.linspace(0, np.pi / 2, 60)
    between = distances(*[directions(np.stack([np.cos(turn), np.sin(turn)], 1))] * 2)
    chained = hierarchy.fcluster(
        hierarchy.single(between[np.triu_indices(60, 1)]), 0.01, "distance"
    )
    assert len(set(chained)) == 1
    assert len(groups_alike(between, 0.01)) > 3
    assert groups_alike(np.zeros((0, 0), np.float32), 0.1) == []


def test_groups_of_digits_hold_one_digit(
    digits: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    features, labels = digits
    between = distances(features, features)
    found = groups_alike(between, NEAR * typical_distance(between))
    large = [group for group in found if len(group) >= 5]
    assert len(large) > 20
    assert np.mean([(labels[group] == labels[group[0]]).mean() for group in large]) > 0.98


def test_the_most_useful_are_those_of_the_plain_formula() -> None:
    features = directions(scattered(6, 40))
    between = distances(features, features)
    doubt = np.random.default_rng(7).random(40).astype(np.float32)
    nearest = distances(features, directions(scattered(8, 5))).min(1)
    order = most_useful_first(doubt, between, nearest, 12)

    chosen: list[int] = []
    for _ in range(12):
        left = [i for i in range(40) if i not in chosen]
        chosen.append(max(left, key=lambda i: doubt[i] * min([nearest[i], *between[i, chosen]])))
    assert order[:12] == chosen
    assert sorted(order) == list(range(40))
    assert list(doubt[order[12:]]) == sorted(doubt[order[12:]], reverse=True)


def test_the_first_to_be_labelled_are_spread_over_what_there_is() -> None:
    """Where nothing is known, one of each kind comes before a second one of any."""
    kinds = np.repeat(np.eye(5, dtype=np.float32), [50, 20, 5, 2, 1], axis=0)
    features = directions(kinds + 0.02 * scattered(9, 78, 5))
    doubt = np.ones(78, np.float32)
    unknown = np.full(78, np.inf, np.float32)
    order = most_useful_first(doubt, distances(features, features), unknown, 10)
    assert len({int(kinds[i].argmax()) for i in order[:5]}) == 5
    assert most_useful_first(doubt[:0], np.zeros((0, 0), np.float32), unknown[:0], 10) == []


def test_a_sketch_keeps_how_far_pictures_lie_from_each_other() -> None:
    """Also of pictures that are nearly the same, whose features have much in common."""
    rng = np.random.default_rng(0)
    common = rng.gamma(1.0, size=15_104)
    rows = common + np.repeat(rng.gamma(1.0, size=(12, 15_104)), 2, axis=0)
    rows[1::2] += 0.05 * rng.normal(size=(12, 15_104))
    whole = directions(rows)
    exact = distances(whole, whole).astype(np.float64)
    along = directions(sketched(rows.astype(np.float16)))
    found = distances(along, along)
    apart = ~np.eye(len(rows), dtype=bool)
    assert along.shape == (24, 1024)
    assert found[apart] == pytest.approx(exact[apart], rel=0.25)
    assert np.median(np.abs(found[apart] / exact[apart] - 1)) < 0.08
    others = np.where(apart, found, 9)
    assert (others.argmin(axis=1) == np.arange(24) ^ 1).all()


def test_few_features_are_left_as_they_are_and_what_is_none_counts_as_none() -> None:
    few = np.asarray([[1.0, np.nan, np.inf, -2.0]], np.float32)
    assert sketched(few).tolist() == [[1, 0, 0, -2]]
    many = np.ones((1, 5000), np.float32)
    many[0, 7] = np.nan
    assert np.isfinite(sketched(many)).all()
