"""What more labels would bring: how the error falls with their number, and what of.

Parts of the labelled pictures are fitted and cross-validated like all of them. Through their errors
goes a power law, error = a * pictures^-b (C. Cortes et al., Learning curves: asymptotic values and
rate of convergence, NIPS 1993; R. Figueroa et al., Predicting sample size required for
classification performance, BMC Medical Informatics 12, 2012), by the likelihood of the counts of
wrong answers, with b from 0 to 1. A class's own error is taken to fall by the same b with the
class's own number: the classes alone have too few pictures for a law each. How sure all that is
comes from drawing the counts anew (a parametric bootstrap). It knows nothing of pictures that are
like none of those labelled. Axes: M pictures; S sizes; D draws; C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.errors import FitError
from snow_runtime.readout.fit import FitOptions, fit_readout
from snow_runtime.refit.groups import classes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snow_runtime.refit.evidence import HeldOutEvidence

MORE: Final = 40
"""So many labels more are spoken of."""
_SHARES: Final = (0.3, 0.45, 0.67)
_REPEATS: Final = 2
_MOST_PICTURES: Final = 500  # of a part: a fit of more takes long, and says little more
_FEWEST: Final = 16
_FITTED_SHARE: Final = 0.8  # four parts of five
_DRAWS: Final = 400
_EXPONENTS: Final = np.linspace(0, 1, 51)
_STEPS: Final = (10.0, 3.0, 1.0, 0.3)  # times the penalty of all pictures: few want a stronger one


@dataclass(frozen=True)
class CurvePoint:
    """What a number of pictures reaches.

    Attributes:
        fitted_on: How many pictures each fit had.
        wrong: Number of answers that were wrong.
        answers: Number of all answers.
    """

    fitted_on: float
    wrong: float
    answers: int


@dataclass(frozen=True)
class CurvePictures:
    """What the whole fit was made of.

    Attributes:
        features: `[M, F]`, all of them: which are read is chosen in each part anew. Those that were
            chosen by all labels know the held-out ones.
        chosen: How many were read.
        groups: int64 `[M]`, which pictures are held out together.
        penalty: The penalty that was chosen.
    """

    features: NDArray[np.float16] | NDArray[np.float32]
    chosen: int
    groups: NDArray[np.int64]
    penalty: float


def curve_points(given: CurvePictures, evidence: HeldOutEvidence) -> tuple[CurvePoint, ...]:
    """Fit parts of the pictures, and count what is answered wrongly while it is held out.

    The last point is the whole fit's own.
    """
    whole = len(evidence.ids)
    if whole < _FEWEST:
        return ()
    penalties = tuple(given.penalty * step for step in _STEPS)
    options = FitOptions(features=given.chosen, sizes=(), penalties=penalties)
    found = []
    for share in _SHARES:
        for repeat in range(_REPEATS):
            rows = _part(evidence, given.groups, share, repeat)
            if len(rows) > _MOST_PICTURES:
                continue
            targets = evidence.targets[rows]
            try:
                fitted = fit_readout(
                    given.features[rows],
                    targets,
                    evidence.labels,
                    replace(options, seed=repeat),
                    groups=given.groups[rows],
                )
            except FitError:  # too few of a class are in the part
                continue
            found.append(_point(1 - fitted.right))
    return (*found, _point(1 - evidence.right))


def _point(wrong: NDArray[np.floating[Any]]) -> CurvePoint:
    return CurvePoint(_FITTED_SHARE * len(wrong), float(wrong.sum()), len(wrong))


def _part(
    evidence: HeldOutEvidence, groups: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.int64]:
    """Draw a part of each class, one of each group first."""
    rng = np.random.default_rng([seed, round(1000 * share)])
    classes = classes_of(evidence.targets)
    found = []
    for each in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == each))
        first = np.unique(groups[rows], return_index=True)[1]
        order = np.concatenate([rows[np.sort(first)], np.delete(rows, first)])
        found.append(order[: max(2, round(share * len(rows)))])
    return np.sort(np.concatenate(found))


def fit_power_law(
    sizes: NDArray[np.float64], wrong: NDArray[np.float64], answers: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit error = a * size^-b by the Poisson likelihood of the wrong answers.

    Args:
        sizes: float64 `[S]`, pictures fitted on.
        wrong: float64 `[D, S]`, wrong answers; each row is fitted by itself.
        answers: float64 `[S]`, answers.

    Returns:
        float64 `[D]`, a and b, with b from 0 to 1.
    """
    falls = sizes[np.newaxis] ** -_EXPONENTS[:, np.newaxis]  # [B, S]
    factors = wrong.sum(axis=1, keepdims=True) / (falls @ answers)[np.newaxis]  # [D, B]
    # log likelihood: sum of wrong * log(a size^-b answers) - a size^-b answers; the last is fixed
    logs = np.log(np.maximum(factors, 1e-12)) * wrong.sum(axis=1, keepdims=True)
    likely = logs + wrong @ np.log(falls).T
    best = likely.argmax(axis=1)
    return factors[np.arange(len(wrong)), best], _EXPONENTS[best]


def forecast(
    points: Sequence[CurvePoint], evidence: HeldOutEvidence, more: int = MORE
) -> dict[str, Any] | None:
    """Say what more labels would bring, and of which class they would bring most.

    Args:
        points: The curve.
        evidence: Answers of the whole fit.
        more: How many labels more.

    Returns:
        Plain JSON values: `exponent`; `accuracy` expected with so many more, spread as they are
        now; `classes`, by class the `gain` in accuracy if all were of it; `advice`, in words. Ends
        of intervals of 90 % are `low` and `high`. None where there are too few points.
    """
    if len({round(point.fitted_on) for point in points}) < 3:
        return None
    sizes = np.array([point.fitted_on for point in points])
    seen = np.array([point.wrong for point in points])
    answers = np.array([float(point.answers) for point in points])
    rng = np.random.default_rng(0)
    drawn = rng.binomial(answers.astype(np.int64), _rates(seen, answers), (_DRAWS, len(seen)))
    wrong = np.concatenate([seen[np.newaxis], drawn])
    factor, exponent = fit_power_law(sizes, wrong, answers)
    fitted_on = sizes[-1] + _FITTED_SHARE * more
    later = np.clip(1 - factor * fitted_on**-exponent, 0, 1)
    gains = _class_gains(evidence, exponent[1:], more, rng)
    first = int(gains.mean(axis=0).argmax())  # the likeliest law alone is often flat
    names = evidence.labels
    sure = float((gains.argmax(axis=1) == first).mean())
    classes = {
        name: {"gain": float(gains[:, column].mean()), **_ends(gains[:, column])}
        for column, name in enumerate(names)
    }
    found: dict[str, Any] = {
        "more": more,
        "exponent": {"value": float(exponent[0]), **_ends(exponent[1:])},
        "accuracy": {"value": float(later[0]), **_ends(later[1:])},
        "classes": classes,
        "most_of": names[first],
        "most_of_in": round(sure, 3),
    }
    return {**found, "advice": _advice(found)}


def _rates(seen: NDArray[np.float64], answers: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip((seen + 0.5) / (answers + 1), 0, 1))


def _class_gains(
    evidence: HeldOutEvidence, exponent: NDArray[np.float64], more: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Give what more labels of each class would gain in accuracy, float64 `[D, C]`.

    A class's share is that among the random pictures, for these are what the cameras show.
    """
    table = _wrong_by_class(evidence)
    counts, wrong = table.sum(axis=0), table[1]
    rates = rng.beta(wrong + 0.5, counts - wrong + 0.5, (len(exponent), len(counts)))
    shares = _shares(evidence, counts)
    fall = 1 - (counts / (counts + more))[np.newaxis] ** exponent[:, np.newaxis]
    return np.asarray(rates * shares * fall)


def _wrong_by_class(evidence: HeldOutEvidence) -> NDArray[np.float64]:
    """Count right and wrong answers by class, float64 `[2, C]`."""
    columns = len(evidence.labels)
    if evidence.several:
        yes = np.asarray(evidence.targets, np.bool_)
        wrong = ((evidence.logits > 0) != yes) & yes
        return np.stack([(yes & ~wrong).sum(axis=0), wrong.sum(axis=0)]).astype(np.float64)
    bad = evidence.wrong > 0
    return np.stack(
        [np.bincount(evidence.targets[rows], minlength=columns) for rows in (~bad, bad)]
    ).astype(np.float64)


def _shares(evidence: HeldOutEvidence, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = np.flatnonzero(evidence.random)
    if evidence.several:
        return np.full(len(counts), 1 / len(counts))
    shown = np.bincount(evidence.targets[rows], minlength=len(counts)) + counts / counts.sum()
    return np.asarray(shown / shown.sum())


def _ends(values: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.quantile(values, (0.05, 0.95))
    return {"low": float(low), "high": float(high)}


def _advice(found: dict[str, Any]) -> str:
    best = found["classes"][found["most_of"]]
    points = (
        f"{100 * best['gain']:.1f} points ({100 * best['low']:.1f} to {100 * best['high']:.1f})"
    )
    if best["gain"] < 0.001:
        return f"{found['more']} labels more would hardly change anything on pictures like these."
    sure = "" if found["most_of_in"] >= 0.8 else ", though that is far from sure"
    return (
        f"{found['more']} labels more of {found['most_of']} would help most{sure}: "
        f"perhaps {points} of accuracy."
    )
