"""Folds that are fitted side by side, against the same fits one after another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from snow_runtime.readout import cross_validation
from snow_runtime.readout.cross_validation import LabelledFeatures, cross_validate
from snow_runtime.readout.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from snow_runtime.readout.logistic import Linear

PENALTIES = (1.0, 0.1, 0.01, 0.001, 0.0001)


def pictures(rows: int = 60, width: int = 12, classes: int = 3) -> LabelledFeatures:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((rows, width)).astype(np.float32)
    truth = features @ rng.standard_normal((width, classes)) + rng.standard_normal((rows, classes))
    return LabelledFeatures(
        features,
        np.eye(classes, dtype=np.float32)[truth.argmax(1)],
        np.full(rows, 1 / rows, np.float32),
        several=False,
        first=np.arange(rows),
    )


def one_after_another(given: LabelledFeatures, folds: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Give the held-out logits of each penalty."""
    every = [np.empty((len(folds), 3), np.float32) for _ in PENALTIES]
    for part in range(int(folds.max()) + 1):
        for logits, found in zip(every, given.path(folds != part, PENALTIES), strict=True):
            logits[folds == part] = found.logits(given.features[folds == part])
    return every


@pytest.mark.parametrize("slow_fold", [None, 0, 2])
def test_folds_are_fitted_as_they_would_be_one_after_another(
    monkeypatch: pytest.MonkeyPatch, slow_fold: int | None
) -> None:
    given, folds = pictures(), np.arange(60) % 3
    with one_thread():
        expected = one_after_another(given, folds)
        paths = LabelledFeatures.path

        def delayed(
            self: LabelledFeatures, rows: NDArray[np.bool_], penalties: Any, **how: Any
        ) -> Iterator[Linear]:
            for found in paths(self, rows, penalties, **how):
                if slow_fold is not None and not rows[slow_fold]:
                    time.sleep(0.02)
                yield found

        monkeypatch.setattr(LabelledFeatures, "path", delayed)
        found = cross_validate([given], folds, PENALTIES)
    number = PENALTIES.index(found.penalty)
    np.testing.assert_array_equal(found.logits, expected[number])
    assert found.accuracy == max(given.right(each).mean() for each in expected)


def test_threads_that_overtake_one_another_change_nothing() -> None:
    """Steps of a few microseconds end in any order."""
    given, folds = pictures(20, 4), np.arange(20) % 5
    with one_thread():
        found = [cross_validate([given], folds, PENALTIES, with_weights=True) for _ in range(40)]
    assert len({each.penalty for each in found}) == 1
    for each in found:
        np.testing.assert_array_equal(each.logits, found[0].logits)
        np.testing.assert_array_equal(each.weights, found[0].weights)


def test_no_fit_goes_on_once_weaker_penalties_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the loss has risen twice, no more than the next penalty's fits have been begun."""
    given, folds = pictures(), np.arange(60) % 3
    paths, fits = LabelledFeatures.path, []

    def counted(
        self: LabelledFeatures, rows: NDArray[np.bool_], penalties: Any, **how: Any
    ) -> Iterator[Linear]:
        for found in paths(self, rows, penalties, **how):
            fits.append(found)
            yield found

    monkeypatch.setattr(LabelledFeatures, "path", counted)
    rising = iter(range(100))
    monkeypatch.setattr(LabelledFeatures, "loss", lambda *_: float(next(rising)))
    with one_thread():
        cross_validate([given], folds, PENALTIES)
    tried = 1 + cross_validation._PATIENCE
    assert 3 * tried <= len(fits) <= 3 * (tried + 1)


def test_an_error_in_a_fold_is_the_caller_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Iterator[Linear]:
        msg = "no root"
        raise ArithmeticError(msg)
        yield

    monkeypatch.setattr(LabelledFeatures, "path", broken)
    with one_thread(), pytest.raises(ArithmeticError, match="no root"):
        cross_validate([pictures()], np.arange(60) % 3, PENALTIES)
