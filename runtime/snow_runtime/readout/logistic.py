"""L2-regularised logistic regression by scipy's L-BFGS, on features or in the pictures' own space.

Axes: M rows, views of P pictures; F features; C classes; R = min(P, F).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_runtime.confidence.probabilities import each_row
from snow_runtime.readout.import_learn import import_learn
from snow_runtime.readout.threads import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from numpy.typing import NDArray

_MOST_ITERATIONS: Final = 300
_RELATIVE_CHANGE: Final = 1e-7
_ROUGH_CHANGE: Final = 3e-5  # the same pictures are right by then, but for one in a hundred
_BLOCK_ROWS: Final = 512
_CHUNK_ROWS: Final = 512  # read for the answers and again for the gradient while they are cached
_SMALL_PRODUCT: Final = 900_000  # multiply-adds; OpenBLAS packs its arguments from a million on
_RIDGE: Final = 1e-5  # of the mean of the Gram matrix's diagonal: keeps Cholesky's roots real


@dataclass(frozen=True)
class Linear:
    """Weights and bias of a linear classifier.

    Attributes:
        weight: float32 `[C, R]`.
        bias: float32 `[C]`.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer about rows `[M, R]`: `[M, C]`."""
        return np.asarray(rows @ self.weight.T + self.bias)


@dataclass(frozen=True)
class PictureSpace:
    """Standardised features in as few axes as they need: no more than there are pictures.

    With fewer pictures than features the axes are those of the Gram matrix's Cholesky factor: a
    rotation, so that a regression there is the same one, lengths of weights included.

    Attributes:
        rows: float32 `[M, R]`.
        factor: The Cholesky factor `[P, P]` of the Gram matrix, or None where `rows` are the
            features.
        spanned: float32 `[P, F]`, the features whose span the weights are in.
    """

    rows: NDArray[np.float32]
    factor: NDArray[np.float32] | None
    spanned: NDArray[np.float32]

    @classmethod
    def of(cls, features: NDArray[np.float32], first: NDArray[np.int64]) -> PictureSpace:
        """Take standardised features.

        Args:
            features: float32 `[M, F]`.
            first: int64 `[P]`, one row of each picture. Weights are looked for in their span: the
                best ones of a regression on these rows are in it, and other views of the same
                pictures change little of where that is.
        """
        pictures = len(first)
        if features.shape[1] <= pictures:
            return cls(features, None, features)
        linalg = import_learn("scipy.linalg")
        spanned = features if pictures == len(features) else features[first]
        with side_by_side() as pool:
            gram = _products(pool, spanned, spanned, lower=True)
            rooted = pool.submit(_root, gram)
            if pictures == len(features):
                factor = rooted.result()
                return cls(factor, factor, spanned)
            others = np.setdiff1d(np.arange(len(features)), first)
            products = _products(pool, features[others], spanned)
            factor = rooted.result()

            def solve(some: NDArray[np.float32]) -> NDArray[np.float32]:
                found = linalg.solve_triangular(factor, some.T, lower=True, check_finite=False)
                return np.asarray(found.T)

            solved = np.concatenate(list(pool.map(solve, np.array_split(products, 2))))
        rows = np.empty((len(features), pictures), np.float32)
        rows[first] = factor
        rows[others] = solved
        return cls(rows, factor, spanned)

    def weight(self, found: Linear) -> NDArray[np.float32]:
        """Return the weights `[C, F]` on the features that do what `found` does here."""
        if self.factor is None:
            return found.weight
        linalg = import_learn("scipy.linalg")
        dual = linalg.solve_triangular(
            self.factor, found.weight.T, lower=True, trans="T", check_finite=False
        )
        return np.asarray((self.spanned.T @ dual).T, np.float32)


def _products(
    pool: ThreadPoolExecutor,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    *,
    lower: bool = False,
) -> NDArray[np.float32]:
    """Return `left @ right.T`, or no more than its lower triangle, the same on any machine.

    By blocks of rows, a few at a time: these products are large, and worth two threads.
    """
    whole = np.zeros((len(left), len(right)), np.float32)

    def fill(start: int) -> None:
        end = start + _BLOCK_ROWS
        columns = end if lower else len(right)
        np.matmul(left[start:end], right[:columns].T, out=whole[start:end, :columns])

    for _ in pool.map(fill, range(0, len(left), _BLOCK_ROWS)):
        pass
    return whole


def _root(gram: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the Cholesky factor of a Gram matrix `[P, P]`, which is written to.

    Where all pictures are much alike, rounding is more than the first ridge, and it grows.
    """
    linalg = import_learn("scipy.linalg")
    mean = max(float(np.trace(gram)) / len(gram), 1e-12)
    added = 0.0
    for ridge in (_RIDGE, 10 * _RIDGE, 100 * _RIDGE, 1000 * _RIDGE):
        gram.flat[:: len(gram) + 1] += (ridge - added) * mean
        added = ridge
        with contextlib.suppress(np.linalg.LinAlgError):
            return np.asarray(linalg.cholesky(gram, lower=True, check_finite=False))
    msg = "the Gram matrix of the pictures' features has no Cholesky factor"  # ridge: 1 %
    raise ArithmeticError(msg)


def regularisation_path(
    rows: NDArray[np.float32],
    targets: NDArray[np.float32],
    shares: NDArray[np.float32],
    penalties: Iterable[float],
    *,
    several: bool = False,
    precise: bool = True,
) -> Iterator[Linear]:
    """Minimise `shares . cross-entropy + penalty * |W|^2` for each penalty, each from the last.

    Args:
        rows: float32 `[M, R]`.
        targets: float32 `[M, C]`, one-hot; or any of 0 and 1 with `several`.
        shares: float32, each picture's share of the loss, together 1: `[M]`, or `[M, C]` with
            `several`, for each label its own.
        penalties: Strengths, best from the strongest to the weakest.
        several: Whether each label is a question of its own (a sigmoid each), not one of C.
        precise: Whether to go on until nothing changes any more. To choose by, less will do.
    """
    axes, classes = rows.shape[1], targets.shape[1]
    split = axes * classes
    weighted = shares if shares.ndim == 2 else shares[:, np.newaxis]
    point = np.zeros(split + classes)

    def loss(flat: NDArray[np.float64], penalty: float) -> tuple[float, NDArray[np.float64]]:
        weight = flat[:split].reshape(classes, axes).astype(np.float32)
        bias = flat[split:].astype(np.float32)
        value, down = 0.0, np.zeros((classes, axes), np.float32)
        over = np.zeros(classes)
        for start in range(0, len(rows), _CHUNK_ROWS):
            some = slice(start, start + _CHUNK_ROWS)
            logits = bias + _times(rows[some], weight)
            if shares.ndim == 2:
                value += float((_label_costs(logits, targets[some]) * shares[some]).sum())
            else:
                value += float(cross_entropy(logits, targets[some], several=several) @ shares[some])
            slope = (each_row(logits, several=several) - targets[some]) * weighted[some]
            _add_product(down, slope, rows[some])
            over += slope.sum(axis=0)
        gradient = np.concatenate([down.ravel().astype(np.float64), over])
        gradient[:split] += 2 * penalty * flat[:split]
        return value + penalty * float(np.square(flat[:split]).sum()), gradient

    optimize = import_learn("scipy.optimize")
    change = _RELATIVE_CHANGE if precise else _ROUGH_CHANGE
    options = {"maxiter": _MOST_ITERATIONS, "ftol": change, "gtol": 1e-6}
    for penalty in penalties:
        found = optimize.minimize(
            loss, point, args=(penalty,), jac=True, method="L-BFGS-B", options=options
        )
        point = found.x
        weight = point[:split].reshape(classes, axes).astype(np.float32)
        yield Linear(weight, point[split:].astype(np.float32))


def _times(rows: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `rows @ weight.T`, `[N, R]` by `[C, R]`, in products that BLAS does not copy first.

    They are in one call, within which another regression's Python can run.
    """
    parts, rest = _in_parts(rows, weight)
    found = np.matmul(parts, weight.T).reshape(-1, len(weight))
    return np.concatenate([found, rest @ weight.T]) if len(rest) else found


def _add_product(
    total: NDArray[np.float32], slope: NDArray[np.float32], rows: NDArray[np.float32]
) -> None:
    """Add `slope.T @ rows`, `[N, C]` by `[N, R]`, to a total `[C, R]`, likewise."""
    parts, rest = _in_parts(rows, total)
    slopes = slope[: len(slope) - len(rest)].reshape(*parts.shape[:2], slope.shape[1])
    total += np.matmul(slopes.transpose(0, 2, 1), parts).sum(axis=0)
    if len(rest):
        total += slope[len(slope) - len(rest) :].T @ rest


def _in_parts(
    rows: NDArray[np.float32], weight: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Divide rows `[N, R]` into parts that give small products `[n, N/n, R]`, and a rest."""
    step = max(8, min(_CHUNK_ROWS, _SMALL_PRODUCT // weight.size))
    whole = len(rows) // step * step
    return rows[:whole].reshape(-1, step, rows.shape[1]), rows[whole:]


def cross_entropy(
    logits: NDArray[np.float32], targets: NDArray[np.float32], *, several: bool = False
) -> NDArray[np.float32]:
    """Return the loss of each row, `[M]`; with `several` the sum over its labels."""
    if several:
        return np.asarray(_label_costs(logits, targets).sum(axis=1))
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - (targets * shifted).sum(axis=1))


def _label_costs(logits: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the loss of each label by itself, `[M, C]`."""
    return np.asarray(np.logaddexp(0, logits) - targets * logits)
