"""What pictures are labelled with, as numbers.

Axes: M pictures; C labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from snow_runtime.errors import FitError
from snow_runtime.readout.checks import check_fittable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from snow_runtime.multilabel import Labelling

GivenLabels: TypeAlias = "Sequence[str] | Sequence[Collection[str]]"
"""What each picture shows: a label; or any number of labels, where several may be right."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What pictures are labelled with.

    Attributes:
        labels: The C labels, sorted.
        values: int64 `[M]`, indices into them; or bool `[M, C]`, where several may be right.
    """

    labels: tuple[str, ...]
    values: NDArray[np.int64] | NDArray[np.bool_]

    @property
    def answers(self) -> Labelling:
        """How many labels of a picture may be right."""
        return "one" if self.values.ndim == 1 else "several"

    @property
    def counts(self) -> tuple[int, ...]:
        """How many pictures show each label."""
        if self.answers == "several":
            return tuple(self.values.sum(axis=0).tolist())
        return tuple(np.bincount(self.values, minlength=len(self.labels)).tolist())

    def of(self, pictures: Sequence[int]) -> Targets:
        """Give those of some of the pictures, with the same labels."""
        return Targets(self.labels, self.values[list(pictures)])


def read_targets(given: GivenLabels) -> Targets:
    """Number the labels of pictures, and check that a readout can be fitted on so many.

    Raises:
        FitError: A label is no text, or too few pictures show one.
    """
    sets = [{each} if isinstance(each, str) else _labels_in(each) for each in given]
    labels = tuple(sorted(set().union(*sets)))
    number = {label: index for index, label in enumerate(labels)}
    values: NDArray[np.int64] | NDArray[np.bool_]
    if all(isinstance(each, str) for each in given):
        _check_texts(given)
        values = np.array([number[label] for each in sets for label in each], np.int64)
    elif any(isinstance(each, str) for each in given):
        msg = (
            "Some pictures have one label and others a list of labels, expected the same for all. "
            "Give lists, of one label too."
        )
        raise FitError(msg)
    elif not labels:
        msg = f"None of the {len(sets)} pictures has a label, expected two or more with each."
        raise FitError(msg)
    else:
        values = np.zeros((len(sets), len(labels)), np.bool_)
        for row, each in enumerate(sets):
            values[row, [number[label] for label in each]] = True
    check_fittable(np.empty((len(sets), 0), np.float32), values, labels, np.arange(len(sets)))
    return Targets(labels, values)


def _labels_in(given: object) -> set[str]:
    """Take the labels of one picture."""
    try:
        found = list(given)  # type: ignore[call-overload]
    except TypeError:
        found = [given]
    _check_texts(found)
    return set(found)


def _check_texts(labels: Iterable[object]) -> None:
    odd = [label for label in labels if not isinstance(label, str) or not label]
    if odd:
        msg = f"A label is {odd[0]!r}, expected a text that is not empty. Correct it."
        raise FitError(msg)
