"""Choosing features and penalty by cross-validation, on features drawn by the test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from snow_runtime.errors import FitError
from snow_runtime.readout.fit import FitOptions, fit_readout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.readout.fit import FittedReadout

LABELS = ("a", "b", "c")
OPTIONS = FitOptions(sizes=(4, 16), penalties=(1.0, 0.1, 0.01))


def drawn(
    count: int = 90, width: int = 60, told: int = 6, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw features of which the first few tell the class, at scales and offsets of their own."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = rng.standard_normal((count, width))
    centres = np.random.default_rng(99).standard_normal((3, told)) * 2.5
    x[:, :told] += centres[y]
    scales = np.random.default_rng(98).uniform(0.2, 5, width)
    return (x * scales + 3 * scales[::-1]).astype(np.float32), y


def answers(fitted: FittedReadout, x: NDArray[Any]) -> NDArray[Any]:
    return x[:, fitted.index].astype(np.float32) @ fitted.weight.T + fitted.bias


def test_it_answers_about_features_as_they_are() -> None:
    """What standardises them is in the weights; the answers hold for rows not fitted on."""
    x, y = drawn()
    fitted = fit_readout(x, y, LABELS, OPTIONS)
    others, wanted = drawn(300, seed=1)

    accuracy = (answers(fitted, others).argmax(1) == wanted).mean()

    assert accuracy > 0.9
    assert abs(fitted.chosen.accuracy - accuracy) < 4 * fitted.chosen.standard_error + 0.02
    moved = fit_readout(x * 2 + 7, y, LABELS, OPTIONS)
    np.testing.assert_allclose(answers(moved, others * 2 + 7), answers(fitted, others), atol=0.3)


def test_it_is_the_optimum_on_what_it_chose() -> None:
    """The gradient in double precision, on features standardised by NumPy, is nothing."""
    x, y = drawn()
    fitted = fit_readout(x, y, LABELS, OPTIONS)
    some = x[:, fitted.index].astype(np.float64)
    deviation = some.std(0) + 1e-3
    rows = (some - some.mean(0)) / deviation
    weight = fitted.weight * deviation
    z = some @ fitted.weight.T.astype(np.float64) + fitted.bias
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    pull = (p - np.eye(3)[y]).T @ rows / len(rows)

    np.testing.assert_allclose(pull, -2 * fitted.chosen.penalty * weight, atol=3e-3)


def test_it_is_the_same_whenever_it_is_fitted() -> None:
    x, y = drawn(width=300)  # more features than pictures
    for options in (OPTIONS, replace(OPTIONS, features=7)):
        once, again = (fit_readout(x, y, LABELS, options) for _ in range(2))
        for name in ("index", "weight", "bias", "right"):
            assert getattr(once, name).tobytes() == getattr(again, name).tobytes()
        assert once.trials == again.trials


def test_few_features_are_kept_where_they_are_as_good() -> None:
    x, y = drawn(240, told=6)
    fitted = fit_readout(x, y, LABELS, OPTIONS)

    assert [trial.features for trial in fitted.trials] == [4, 16, 60]
    best = max(fitted.trials, key=lambda trial: trial.accuracy)
    assert fitted.chosen.features < 60
    assert fitted.chosen.accuracy >= best.accuracy - 3 * best.standard_error
    assert len({*fitted.index.tolist()}.intersection(range(6))) >= 4
    assert (np.diff(fitted.index) > 0).all()


def test_all_are_read_where_each_tells_a_little() -> None:
    rng = np.random.default_rng(2)
    y = np.arange(400) % 2
    x = (rng.standard_normal((400, 80)) + 0.3 * np.where(y, 1, -1)[:, None]).astype(np.float32)

    fitted = fit_readout(x, y, LABELS[:2], FitOptions(sizes=(4,), penalties=(1.0, 0.1)))

    assert (fitted.chosen.features, fitted.chosen.ranked_by) == (80, "all")


@pytest.mark.parametrize(("asked", "read"), [(1, 1), (7, 7), (60, 60), (61, 60), (9999, 60)])
def test_a_number_that_is_asked_for(asked: int, read: int) -> None:
    x, y = drawn()
    fitted = fit_readout(x, y, LABELS, replace(OPTIONS, features=asked))
    assert fitted.index.shape == (read,)
    assert fitted.weight.shape == (3, read)
    assert len(fitted.trials) == 1


@pytest.mark.parametrize("width", [20, 400])
def test_labels_at_random_are_guessed(width: int) -> None:
    """Nothing of a held-out picture's label reaches the fit, nor the ranking."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((300, width)).astype(np.float32)
    y = rng.permutation(np.arange(300) % 2)
    options = FitOptions(sizes=(5, 10), penalties=(0.1,))

    fitted = fit_readout(x, y, LABELS[:2], options)

    for trial in fitted.trials:  # a leak through the ranking gives 0.7 and more
        assert abs(trial.accuracy - 0.5) < 0.1


def test_views_of_one_picture_are_held_out_together() -> None:
    """Two views that are all but the same, of labels at random: a leak would answer them all."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((120, 200)).astype(np.float32)
    y = rng.permutation(np.arange(120) % 2)
    both = np.concatenate([x, x + 0.01 * rng.standard_normal(x.shape)]).astype(np.float32)
    pictures = np.tile(np.arange(120), 2)

    fitted = fit_readout(both, np.tile(y, 2), LABELS[:2], OPTIONS, pictures)

    assert fitted.right.shape == (120,)
    assert fitted.chosen.accuracy < 0.7


def test_the_first_row_of_a_picture_is_judged() -> None:
    """Crops of noise are fitted on, and change nothing of what is counted."""
    x, y = drawn()
    noise = np.random.default_rng(8).standard_normal(x.shape).astype(np.float32) * 100
    fitted = fit_readout(
        *(np.concatenate([x, noise]), np.tile(y, 2), LABELS, OPTIONS, np.tile(np.arange(90), 2))
    )
    reversed_ = fit_readout(
        *(np.concatenate([noise, x]), np.tile(y, 2), LABELS, OPTIONS, np.tile(np.arange(90), 2))
    )
    assert fitted.chosen.accuracy > reversed_.chosen.accuracy + 0.2


def test_pictures_may_have_any_numbers() -> None:
    x, y = drawn()
    plain = fit_readout(x, y, LABELS, OPTIONS)
    numbered = fit_readout(x, y, LABELS, OPTIONS, np.arange(90) * 7 + 1000)
    assert numbered.weight.tobytes() == plain.weight.tobytes()


def test_half_precision_is_fitted_as_its_numbers_in_single() -> None:
    x, y = drawn()
    half = x.astype(np.float16)
    before = half.copy()
    one = fit_readout(half, y, LABELS, OPTIONS)
    single = half.astype(np.float32)
    other = fit_readout(single, y, LABELS, OPTIONS)
    assert one.weight.tobytes() == other.weight.tobytes()
    assert one.index.tobytes() == other.index.tobytes()
    assert (half == before).all()  # and what was given is as it was
    assert (single == before).all()


def test_a_rare_class_counts_as_much_with_balanced_weights() -> None:
    rng = np.random.default_rng(9)
    y = (np.arange(400) % 20 == 0).astype(np.int64)
    x = (rng.standard_normal((400, 3)) + 0.8 * y[:, None]).astype(np.float32)
    options = FitOptions(sizes=(), penalties=(0.01,))
    equal = fit_readout(x, y, LABELS[:2], options)
    balanced = fit_readout(x, y, LABELS[:2], replace(options, class_weights="balanced"))

    def found(fitted: FittedReadout) -> float:
        return float((answers(fitted, x).argmax(1) == 1)[y == 1].mean())

    assert found(balanced) > 0.6
    assert found(equal) < 0.3
    # As if each picture of the rare class were there nineteen times, in the loss.
    many = np.concatenate([x[y == 0], *[x[y == 1]] * 19])
    z = answers(balanced, many)
    assert abs((z[:, 1] > z[:, 0]).mean() - 0.5) < 0.15


def test_a_rare_label_counts_as_much_with_balanced_weights() -> None:
    """As each label would by itself, as a question of two classes."""
    rng = np.random.default_rng(9)
    rare, often = np.arange(400) % 20 == 0, np.arange(400) % 3 == 0
    targets = np.stack([rare, often], axis=1)
    x = (rng.standard_normal((400, 3)) + 0.8 * targets[:, [0, 1, 0]]).astype(np.float32)
    options = FitOptions(sizes=(), penalties=(0.01,), class_weights="balanced")
    both = answers(fit_readout(x, targets, LABELS[:2], options), x)

    for number, present in enumerate((rare, often)):
        alone = answers(fit_readout(x, present[:, np.newaxis], LABELS[:1], options), x)
        np.testing.assert_allclose(both[:, [number]], alone, atol=2e-2)
        # Of the rare ones as many are found as of the others are not taken for one.
        right = (both[:, number] > 0) == present
        assert abs(right[present].mean() - right[~present].mean()) < 0.15
    equal = answers(fit_readout(x, targets, LABELS[:2], replace(options, class_weights="equal")), x)
    assert (equal[rare, 0] > 0).mean() < 0.5 < (both[rare, 0] > 0).mean()


def test_several_labels() -> None:
    x, y = drawn()
    targets = np.stack([y == 0, y != 1, y == 2], axis=1)
    fitted = fit_readout(x, targets, LABELS, OPTIONS)
    others, wanted = drawn(200, seed=1)
    expected = np.stack([wanted == 0, wanted != 1, wanted == 2], axis=1)

    assert ((answers(fitted, others) > 0) == expected).mean() > 0.9
    assert {round(3 * float(each)) for each in np.unique(fitted.right)} <= {0, 1, 2, 3}
    alone = fit_readout(x, targets[:, :1], LABELS[:1], OPTIONS)  # one label, yes or no
    assert ((answers(alone, others) > 0)[:, 0] == expected[:, 0]).mean() > 0.9


def rank_backwards(
    features: NDArray[Any],
    _targets: NDArray[Any],
    *,
    rows: NDArray[Any],
    count: int,
    several: bool,
) -> NDArray[Any]:
    del rows, count, several
    return np.arange(features.shape[1])[::-1].copy()


def rank_right(
    features: NDArray[Any],
    _targets: NDArray[Any],
    *,
    rows: NDArray[Any],
    count: int,
    several: bool,
) -> NDArray[Any]:
    del rows, count, several
    return np.arange(features.shape[1])


@pytest.mark.parametrize(("ranker", "kept"), [(rank_backwards, "weights"), (rank_right, "another")])
def test_the_better_ranking_is_kept(ranker: Any, kept: str) -> None:
    """With few noisy pictures the weights rank badly; a ranking that knows is better."""
    rng = np.random.default_rng(3)
    y = np.arange(40) % 2
    x = rng.standard_normal((40, 600)).astype(np.float32)
    x[:, :4] += 0.7 * y[:, None]
    options = FitOptions(features=4, penalties=(1.0, 0.1, 0.01))

    fitted = fit_readout(x, y, LABELS[:2], options, ranker=ranker)

    assert [trial.ranked_by for trial in fitted.trials] == ["weights", "another"]
    assert fitted.chosen.ranked_by == kept
    if kept == "another":
        assert fitted.index.tolist() == [0, 1, 2, 3]


def test_a_ranker_may_look_at_no_picture_that_is_held_out() -> None:
    x, y = drawn(60)
    seen = []

    def note(
        features: NDArray[Any],
        targets: NDArray[Any],
        *,
        rows: NDArray[Any],
        count: int,
        several: bool,
    ) -> NDArray[Any]:
        assert count == 4
        assert not several
        assert (features.shape, targets.shape) == ((60, 60), (60, 3))
        seen.append(set(rows.tolist()))
        return np.arange(features.shape[1])

    options = FitOptions(features=4, folds=5, penalties=(0.1,))
    fit_readout(x, y, LABELS, options, ranker=note)

    held = [set(range(60)) - rows for rows in seen[:5]]
    assert sorted(number for fold in held for number in fold) == list(range(60))
    assert [len(fold) for fold in held] == [12] * 5


def test_features_that_never_vary_and_such_as_are_the_same() -> None:
    x, y = drawn()
    x[:, 40:50] = 12.5
    x[:, 50:] = x[:, :10]
    fitted = fit_readout(x, y, LABELS, replace(OPTIONS, features=None, sizes=()))
    other = x.copy()
    other[:, 40:50] += 0.001
    assert np.isfinite(fitted.weight).all()
    np.testing.assert_allclose(answers(fitted, other), answers(fitted, x), atol=0.02)
    alike = fit_readout(np.ones_like(x), y, LABELS, OPTIONS)  # nothing to tell by
    assert np.isfinite(alike.weight).all()
    assert alike.chosen.accuracy < 0.5


@pytest.mark.parametrize("views", [1, 3])
def test_two_pictures_a_class_are_enough(views: int) -> None:
    x, y = drawn(6, 200, told=150)
    x = np.concatenate([x] * views)
    numbers = np.tile(np.arange(6), views)
    fitted = fit_readout(x, np.tile(y, views), LABELS, FitOptions(), numbers)
    assert (answers(fitted, x).argmax(1) == np.tile(y, views)).all()
    assert np.isfinite(fitted.chosen.standard_error)


def test_more_folds_than_pictures() -> None:
    x, y = drawn(9)
    fitted = fit_readout(x, y, LABELS, replace(OPTIONS, folds=20))
    assert fitted.right.shape == (9,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.arange(90) % 2}, r"Too few pictures: c \(0\), expected 2 or more of each class"),
        ({"y": np.array([2] + [0, 1] * 44 + [1])}, r"c \(1\), expected 2 or more"),
        ({"y": np.zeros(90, np.int64), "labels": ("a",)}, "one class, a, expected two or more"),
        ({"labels": tuple(map(str, range(91)))}, "91 classes and 90 pictures"),
        ({"y": np.zeros((90, 3), bool)}, r"a \(0 with it, 90 without\)"),
        ({"y": np.ones((90, 3), bool)}, r"c \(90 with it, 0 without\)"),
        ({"x": np.full((90, 60), np.nan, np.float32)}, "picture 0 are NaN"),
        ({"x": np.full((90, 60), np.inf, np.float16)}, "NaN or infinite"),
        ({"x": np.zeros((0, 60), np.float32), "y": np.zeros(0, np.int64)}, "M being 1 or more"),
        ({"x": np.zeros((89, 60), np.float32)}, r"\[89, 60\], \[90\]"),
    ],
)
def test_what_cannot_be_fitted(change: dict[str, Any], message: str) -> None:
    x, y = drawn()
    given = {"x": x, "y": y, "labels": LABELS, **change}
    with pytest.raises(FitError, match=message):
        fit_readout(given["x"], given["y"], given["labels"], OPTIONS)


def test_one_nan_names_its_picture() -> None:
    x, y = drawn()
    x[41, 7] = np.nan
    with pytest.raises(FitError, match="picture 41 are NaN"):
        fit_readout(x, y, LABELS, OPTIONS)
