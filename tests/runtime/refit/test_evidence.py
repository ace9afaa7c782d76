"""What is said of a fit, against the formulas written out and other libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import beta, binom, binomtest

from snow_runtime.paired_tests import Counts, p_value_above
from snow_runtime.readout.fit import FitOptions, fit_readout
from snow_runtime.refit.compare import LEVEL, compare_versions
from snow_runtime.refit.evidence import HeldOutEvidence, confusion, exact_interval
from snow_runtime.refit.groups import GroupOptions, Taken, group_pictures
from snow_runtime.refit.label_errors import likely_errors, suspected
from snow_runtime.refit.learning_curve import (
    CurvePictures,
    curve_points,
    fit_power_law,
    forecast,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def evidence_of(targets: NDArray[Any], logits: NDArray[Any], **fields: Any) -> HeldOutEvidence:
    count = len(targets)
    given: dict[str, Any] = {
        "ids": np.arange(10, 10 + count),
        "labels": tuple("abcdef"[: logits.shape[1]]),
        "moments": np.arange(count),
        "random": np.ones(count, np.bool_),
        **fields,
    }
    return HeldOutEvidence(targets=targets, logits=logits.astype(np.float32), **given)


def blobs(each: int, noise: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    targets = np.arange(2 * each) % 2
    centres = np.zeros((2, 12))
    centres[1, 0] = 2
    rows = centres[targets] + rng.normal(0, noise, (2 * each, 12))
    return rows.astype(np.float32), targets


def taken(times: Any, cameras: Any = 0, timed: bool = True) -> Taken:
    times = np.asarray(times, np.float64)
    return Taken(
        np.broadcast_to(np.asarray(cameras, np.int64), times.shape),
        times,
        np.full(times.shape, timed),
    )


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (17, 20), (1, 300)])
def test_the_interval_is_scipys_exact_one(right: int, count: int) -> None:
    theirs = binomtest(right, count).proportion_ci(method="exact")

    assert exact_interval(right / count, count) == pytest.approx((theirs.low, theirs.high))


def test_frames_of_a_moment_widen_the_interval_and_keep_the_share() -> None:
    targets = np.zeros(40, np.int64)
    logits = np.zeros((40, 2))
    logits[:30, 0], logits[30:, 1] = 1, 1
    honest = evidence_of(targets, logits, moments=np.arange(40) // 4).honest()

    assert honest is not None
    assert (honest.accuracy, honest.pictures, honest.moments) == (0.75, 40, 10)
    # by hand: the exact interval of 7.5 right ones of 10
    ends = beta.ppf(0.025, 7.5, 3.5), beta.ppf(0.975, 8.5, 2.5)
    assert (honest.low, honest.high) == pytest.approx(ends)


def test_only_random_pictures_are_honest() -> None:
    targets, logits = np.zeros(4, np.int64), np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    some = evidence_of(targets, logits, random=np.array([True, True, True, False])).honest()

    assert some is not None
    assert some.accuracy == pytest.approx(2 / 3)
    assert evidence_of(targets, logits, random=np.zeros(4, np.bool_)).honest() is None


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    several = np.array([[True, False], [True, True], [False, False]])
    logits = np.random.default_rng(0).normal(size=(3, 2))
    before = evidence_of(several, logits, copies=((10, 11),), split=("a",))
    before.write(tmp_path / "evidence.npz")
    found = HeldOutEvidence.read(tmp_path / "evidence.npz")

    for name in ("ids", "targets", "logits", "moments", "random"):
        np.testing.assert_array_equal(getattr(found, name), getattr(before, name))
    assert (found.labels, found.copies, found.split) == (before.labels, ((10, 11),), ("a",))


def test_pictures_stand_behind_each_cell() -> None:
    targets = np.array([0, 0, 1, 1])
    logits = np.array([[1, 0], [0, 1], [0, 1], [0, 1]])
    assert confusion(evidence_of(targets, logits)) == {
        "a": {"a": [10], "b": [11]},
        "b": {"a": [], "b": [12, 13]},
    }
    several = np.array([[True, False], [False, True]])
    cells = confusion(evidence_of(several, np.array([[1, 1], [-1, 1]])))
    assert cells["not b"] == {"b": [10], "not b": []}


def test_copies_and_moments_are_held_out_together() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 300))
    features[5] = features[0] + 1e-3  # nearly a copy, but an hour later: no copy
    features[7] = features[6] + 1e-3  # within a quarter of an hour
    hours = 3600.0 * np.arange(12)
    hours[7] = hours[6] + 300
    hours[9:11] = hours[8] + 5, hours[8] + 12  # seconds after one another
    groups = group_pictures(features, np.zeros(12, np.int64), taken(hours))

    assert groups.copies == ((6, 7),)
    assert len(np.unique(groups.moments)) == 9
    assert groups.moments[6] == groups.moments[7]
    assert groups.moments[8] == groups.moments[9] == groups.moments[10]
    assert groups.split == ()


def test_moments_are_a_cameras_and_end() -> None:
    times = 5.0 * np.arange(50)  # one frame leads to the next for more than two minutes
    rng = np.random.default_rng(1)
    features = rng.normal(size=(50, 40))
    both = group_pictures(features, np.zeros(50, np.int64), taken(times))
    assert len(np.unique(both.moments)) == 2
    cameras = group_pictures(features, np.zeros(50, np.int64), taken(times, np.arange(50)))
    assert len(np.unique(cameras.moments)) == 50
    imported = group_pictures(features, np.zeros(50, np.int64), taken(times, timed=False))
    assert len(np.unique(imported.moments)) == 50


def test_a_class_of_one_moment_is_split_and_told() -> None:
    rng = np.random.default_rng(2)
    classes = np.arange(20) % 2
    times = np.where(classes, 3600.0 * np.arange(20), 0.0)  # class 0 is all of one second
    groups = group_pictures(rng.normal(size=(20, 30)), classes, taken(times))

    assert groups.split == (0,)
    assert len(np.unique(groups.held_out[classes == 0])) == 10
    assert len(np.unique(groups.moments[classes == 0])) == 1


def test_held_out_groups_are_in_no_other_part() -> None:
    """Copies of random pictures with random labels: only who has seen one knows the other."""
    rng = np.random.default_rng(3)
    features = np.repeat(rng.normal(size=(40, 60)), 2, axis=0).astype(np.float32)
    targets = np.repeat(rng.integers(2, size=40), 2)
    alone = fit_readout(features, targets, ["a", "b"])
    together = fit_readout(features, targets, ["a", "b"], groups=np.repeat(np.arange(40), 2))

    assert alone.right.mean() > 0.85
    assert together.right.mean() < 0.7
    options = GroupOptions()
    assert options.moment_s < options.longest_moment_s


def test_wrong_labels_come_first() -> None:
    features, targets = blobs(40, 0.3)
    given = targets.copy()
    wrong = [3, 10, 21]
    given[wrong] = 1 - given[wrong]
    fitted = fit_readout(features, given, ["a", "b"])
    found = likely_errors(evidence_of(given, fitted.logits, ids=np.arange(80)))

    assert {each.id for each in found[:3]} == set(wrong)
    assert all(each.label != each.suggested for each in found)


def test_suspicion_is_the_confident_joint_off_its_diagonal() -> None:
    rng = np.random.default_rng(0)
    values = rng.dirichlet([1, 1, 1], 60)
    targets = rng.integers(3, size=60)
    # Northcutt et al., equation 1 and 2, written out
    bounds = [np.mean([values[n, j] for n in range(60) if targets[n] == j]) for j in range(3)]
    expected = {}
    for n in range(60):
        over = [j for j in range(3) if values[n, j] >= bounds[j]]
        best = max(over, key=lambda j: values[n, j], default=None)
        if best is not None and best != targets[n]:
            expected[n] = best

    assert {row: best for row, best, _ in suspected(values, targets)} == expected


def test_a_power_law_is_found_again() -> None:
    sizes = np.array([16.0, 32, 64, 128])
    answers = np.full(4, 1e6)
    factor, exponent = fit_power_law(sizes, (0.8 * sizes**-0.5 * answers)[np.newaxis], answers)

    assert exponent[0] == pytest.approx(0.5, abs=0.011)
    assert factor[0] == pytest.approx(0.8, rel=0.05)


def test_the_forecast_names_the_class_that_errs_and_holds_what_comes() -> None:
    features, targets = blobs(60, 1.2)
    rows = np.r_[np.flatnonzero(targets == 0)[:50], np.flatnonzero(targets == 1)[:12]]
    features, targets = features[rows], targets[rows]
    fitted = fit_readout(features, targets, ["a", "b"])
    evidence = evidence_of(targets, fitted.logits)
    given = CurvePictures(features, 12, np.arange(len(rows)), fitted.chosen.penalty)
    points = curve_points(given, evidence)
    found = forecast(points, evidence)

    assert found is not None
    assert points[-1].fitted_on == pytest.approx(0.8 * 62)
    assert points[0].fitted_on < points[-1].fitted_on
    assert found["most_of"] == "b"
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
    assert "labels more" in found["advice"]
    assert forecast(points[-1:], evidence) is None


def test_the_curve_does_not_know_what_it_holds_out() -> None:
    """Labels without any sense, and so many features that some fit them by chance."""
    rng = np.random.default_rng(4)
    features = rng.normal(size=(120, 3000)).astype(np.float32)
    targets = rng.integers(2, size=120)
    fitted = fit_readout(features, targets, ["a", "b"], FitOptions(features=64))
    evidence = evidence_of(targets, fitted.logits)
    given = CurvePictures(features, 64, np.arange(120), fitted.chosen.penalty)
    points = curve_points(given, evidence)

    assert len(points) == 7
    assert sum(point.wrong for point in points) / sum(point.answers for point in points) > 0.35


def test_a_comparison_counts_moments_once() -> None:
    before = np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 0])
    now = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    alone = compare_versions(before, now, np.arange(10))
    once = compare_versions(before, now, np.array([0, 0, 0, 0, 1, 2, 3, 4, 5, 6]))

    assert (alone.lost, alone.won, alone.moments) == (4, 1, 10)
    assert (once.lost, once.won, once.moments, once.pictures) == (1, 1, 7, 10)
    assert alone.p_worse == p_value_above(Counts(10, 4, 1), 0.0)
    assert not once.is_worse


def test_the_gate_decides_as_the_exact_test_of_mcnemar_does() -> None:
    """One-sided, by the binomial distribution: of pictures on which one errs, half are lost."""
    for lost in range(15):
        for won in range(15):
            before = np.repeat([0, 1, 0], [lost, won, 30])
            now = np.repeat([1, 0, 0], [lost, won, 30])
            found = compare_versions(before, now, np.arange(len(now)))
            exact = binom.sf(lost - 1, lost + won, 0.5) if lost + won else 1.0
            assert found.is_worse == (exact < LEVEL), (lost, won)
            assert found.low - 1e-9 <= found.drop <= found.high + 1e-9


@pytest.mark.parametrize("moments", [20, 100, 400])
def test_a_readout_as_good_is_seldom_held_back(moments: int) -> None:
    rng = np.random.default_rng(moments)
    held = []
    for _ in range(300):
        both = rng.random((2, moments)) < 0.1  # each errs on its own tenth
        before, now = both.astype(np.int64)
        held.append(compare_versions(before, now, np.arange(moments)).is_worse)
    assert np.mean(held) <= LEVEL + 0.05
    worse = compare_versions(
        np.zeros(60, np.int64), (np.arange(60) < 8).astype(np.int64), np.arange(60)
    )
    assert worse.is_worse
    assert "a drop of" in worse.text
