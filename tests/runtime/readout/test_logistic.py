"""The regression's optimum, against the gradient and an optimiser in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from snow_runtime.confidence.probabilities import each_row
from snow_runtime.readout.logistic import (
    PictureSpace,
    cross_entropy,
    regularisation_path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snow_runtime.readout.logistic import Linear


def drawn(
    rows: int, features: int, classes: int, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features)).astype(np.float32)
    truth = x @ rng.standard_normal((features, classes)) + rng.standard_normal((rows, classes))
    return x, np.eye(classes, dtype=np.float32)[truth.argmax(1)]


def objective(
    given: Sequence[NDArray[Any]],
    penalty: float,
    w: NDArray[Any],
    b: NDArray[Any],
    *,
    several: bool,
) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """Give the loss and its slopes by weight and bias, written out in double precision."""
    x, y, shares, w, b = (np.asarray(each, np.float64) for each in (*given, w, b))
    loss, down, side = penalty * (w**2).sum(), 2 * penalty * w, np.zeros(len(b))
    for row, wanted, share in zip(x, y, shares, strict=True):
        z = w @ row + b
        if several:
            p = 1 / (1 + np.exp(-z))
            loss -= share * (wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).sum()
        else:
            p = np.exp(z) / np.exp(z).sum()
            loss -= share * np.log(p[wanted.argmax()])
        down = down + share * np.outer(p - wanted, row)
        side += share * (p - wanted)
    return float(loss), down, side


@pytest.mark.parametrize("several", [False, True])
def test_it_ends_where_the_slope_is_nothing(several: bool) -> None:
    x, y = drawn(60, 12, 3)
    if several:
        y = (y + np.roll(y, 1, axis=0) > 0).astype(np.float32)
    shares = np.random.default_rng(1).uniform(0.2, 1, 60).astype(np.float32)
    shares /= shares.sum()
    given = x, y, shares

    for penalty, found in zip(
        (1.0, 0.1, 0.01),
        regularisation_path(x, y, shares, (1.0, 0.1, 0.01), several=several),
        strict=True,
    ):
        start = objective(given, penalty, np.zeros((3, 12)), np.zeros(3), several=several)
        end = objective(given, penalty, found.weight, found.bias, several=several)
        assert end[0] < start[0]
        assert np.abs(end[1]).max() < 0.01 * np.abs(start[1]).max()
        assert np.abs(end[2]).max() < 2e-3


def test_no_optimiser_in_double_precision_finds_less() -> None:
    torch = pytest.importorskip("torch")
    x, y = drawn(80, 20, 4)
    shares = np.full(80, 1 / 80, np.float32)
    (found,) = regularisation_path(x, y, shares, [0.03])
    rows, wanted = torch.tensor(x).double(), torch.tensor(y.argmax(1))
    w = torch.zeros(4, 20, dtype=torch.double, requires_grad=True)
    b = torch.zeros(4, dtype=torch.double, requires_grad=True)
    steps = torch.optim.LBFGS([w, b], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14)

    def close() -> object:
        steps.zero_grad()
        loss = torch.nn.functional.cross_entropy(rows @ w.T + b, wanted) + 0.03 * (w**2).sum()
        loss.backward()
        return loss

    steps.step(close)

    np.testing.assert_allclose(found.weight, w.detach().numpy(), atol=2e-3)
    np.testing.assert_allclose(found.bias - found.bias.mean(), (b - b.mean()).detach(), atol=4e-3)


def test_several_labels_are_as_many_regressions() -> None:
    x, y = drawn(70, 9, 3)
    shares = np.full(70, 1 / 70, np.float32)
    (together,) = regularisation_path(x, y, shares, [0.05], several=True)
    for label in range(3):
        (alone,) = regularisation_path(x, y[:, [label]], shares, [0.05], several=True)
        np.testing.assert_allclose(together.weight[label], alone.weight[0], atol=2e-3)
        np.testing.assert_allclose(together.bias[label], alone.bias[0], atol=2e-3)


def in_features(
    x: NDArray[Any], y: NDArray[Any], first: NDArray[Any], penalty: float
) -> tuple[NDArray[Any], Linear]:
    space = PictureSpace.of(x, first)
    shares = np.full(len(x), 1 / len(x), np.float32)
    (found,) = regularisation_path(space.rows, y, shares, [penalty])
    return space.weight(found), found


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_it_is_the_same_regression_in_the_pictures_own_space(penalty: float) -> None:
    x, y = drawn(40, 200, 3)
    space = PictureSpace.of(x, np.arange(40))
    assert space.rows.shape == (40, 40)
    np.testing.assert_allclose(space.rows @ space.rows.T, x @ x.T, atol=1e-2)
    shares = np.full(40, 1 / 40, np.float32)
    (plain,) = regularisation_path(x, y, shares, [penalty])

    weight, found = in_features(x, y, np.arange(40), penalty)

    np.testing.assert_allclose(weight, plain.weight, atol=2e-2 * np.abs(plain.weight).max())
    np.testing.assert_allclose(found.bias, plain.bias, atol=2e-2)
    np.testing.assert_allclose(x @ weight.T + found.bias, found.logits(space.rows), atol=5e-3)


def test_other_views_have_the_place_that_their_features_give_them() -> None:
    """In the span of the centres, a view's row is its projection."""
    centres, _ = drawn(30, 100, 3)
    inside = np.random.default_rng(3).standard_normal((30, 30)).astype(np.float32) @ centres
    x = np.concatenate([centres, inside])
    space = PictureSpace.of(x, np.arange(30))
    np.testing.assert_allclose(space.rows @ space.rows.T, x @ x.T, rtol=1e-3, atol=2)


@pytest.mark.parametrize("kind", ["duplicates", "two heaps", "constant", "one feature in all"])
def test_pictures_that_are_alike(kind: str) -> None:
    """The Gram matrix has no more rank than the pictures differ, within its rounding."""
    rng = np.random.default_rng(5)
    count, width = 600, 700
    heap = np.arange(count) % 2
    x = rng.standard_normal((2, width))[heap]
    if kind == "two heaps":
        x = x + 1e-4 * rng.standard_normal((count, width))
    if kind == "constant":
        x = np.zeros((count, width))
    if kind == "one feature in all":
        x = np.where(heap, 1.0, -1.0)[:, None].repeat(width, 1)
    x = x.astype(np.float32)
    y = np.eye(2, dtype=np.float32)[heap]

    weight, found = in_features(x, y, np.arange(count), 0.01)

    assert np.isfinite(weight).all()
    assert np.isfinite(found.bias).all()
    if kind != "constant":
        assert ((x @ weight.T + found.bias).argmax(1) == heap).all()


@pytest.mark.parametrize("several", [False, True])
def test_large_logits_overflow_nothing(several: bool) -> None:
    logits = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 300]], np.float32)
    targets = np.array([[1, 0, 0], [1, 0, 0]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        loss = cross_entropy(logits, targets, several=several)
        found = each_row(logits, several=several)
    np.testing.assert_allclose(loss, [np.log(2) if several else 0, 20300 if several else 2e4])
    assert np.isfinite(found).all()
    if not several:
        np.testing.assert_allclose(found.sum(1), 1)
