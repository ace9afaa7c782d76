"""How unlike a task's training pictures a picture is, by the source's own pooled features.

The features of a few taps, each tap's divided by their length, are standardised by the training
pictures, and a space of the few axes that these vary most in is laid through them. A picture's
distance is what is left of it beside that space (the residual of Wang et al., ViM, CVPR 2022, on
features of several depths). The task's energy is added, -log sum exp of its logits (Liu et al.,
NeurIPS 2020). Axes: B pictures of a batch; M pictures; F features of the graph; K features that are
looked at; R axes; C labels.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import numpy as np

from snow_runtime.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snow_runtime.graph.familiarity_entry import FamiliarityEntry
    from snow_runtime.graph.features_entry import TapEntry

_LENGTH: Final = 1e-6
"""Added to a tap's length: a black picture may have none."""
_STEPS: Final = 127
_NOT_FINITE: Final = (
    "The graph computed features that are NaN or infinite, expected finite ones. Export it again "
    "in fp32; if that cures it, the numbers inside are too large for its precision."
)


@dataclass(frozen=True, eq=False)
class FamiliarSpace:
    """The space, ready to be computed with.

    Attributes:
        centre: float32 `[K]`.
        inverse_scale: float32 `[K]`.
        axes: float32 `[K, R]`, of length 1 but for rounding.
    """

    centre: NDArray[np.float32]
    inverse_scale: NDArray[np.float32]
    axes: NDArray[np.float32]

    def distances(self, normed: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give squared distances from the space, float32 `[B]`, of normed features `[B, K]`."""
        found = normed - self.centre
        found *= self.inverse_scale
        inside = found @ self.axes
        return np.asarray(
            np.einsum("bk,bk->b", found, found) - np.einsum("br,br->b", inside, inside)
        )


def space_of(entry: FamiliarityEntry) -> FamiliarSpace:
    """Read the space that an entry holds; once, and it is kept as long as the entry is."""
    found = _SPACES.get(entry)
    if found is None:
        found = _SPACES[entry] = _unpack_space(entry)
    return found


def _unpack_space(entry: FamiliarityEntry) -> FamiliarSpace:
    content, features, axes = entry.content(), entry.features, entry.axes
    numbers = np.frombuffer(content, "<f4", 2 * features + axes).astype(np.float32)
    steps = np.frombuffer(content, np.int8, axes * features, 4 * len(numbers))
    largest = numbers[2 * features :, np.newaxis]
    return FamiliarSpace(
        numbers[:features],
        np.asarray(1 / numbers[features : 2 * features], np.float32),
        np.ascontiguousarray((steps.reshape(axes, features) * (largest / _STEPS)).T, np.float32),
    )


_SPACES: Final[WeakKeyDictionary[FamiliarityEntry, FamiliarSpace]] = WeakKeyDictionary()
"""A megabyte for a task of a ResNet-50: a model that was swapped out must not leave its own."""


def pack_space(
    centre: NDArray[np.floating[Any]],
    scale: NDArray[np.floating[Any]],
    axes: NDArray[np.floating[Any]],
) -> str:
    """Write a space as an entry holds it: centre and scale `[K]`, axes `[K, R]`."""
    largest = np.abs(axes).max(axis=0)
    steps = _steps(axes).astype(np.int8)
    parts = [np.asarray(each, "<f4").tobytes() for each in (centre, scale, largest)]
    return base64.b64encode(b"".join([*parts, np.ascontiguousarray(steps.T).tobytes()])).decode()


def in_steps(axes: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Round axes `[K, R]` to what an entry can hold of them."""
    return np.asarray(_steps(axes) * (np.abs(axes).max(axis=0) / _STEPS), np.float32)


def _steps(axes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return np.asarray(np.rint(axes / np.maximum(np.abs(axes).max(axis=0), 1e-12) * _STEPS))


def last_of_each_width(taps: Sequence[TapEntry]) -> tuple[str, ...]:
    """Name the taps that are looked at: the last of each number of channels, as stages have it."""
    return tuple(
        tap.name
        for tap, after in zip(taps, [*taps[1:], None], strict=True)
        if after is None or after.channels != tap.channels
    )


def normed_features(
    features: NDArray[np.floating[Any]], taps: Sequence[TapEntry], chosen: Sequence[str]
) -> NDArray[np.float32]:
    """Take chosen taps' features, each tap's divided by their length: float32 `[B, K]`."""
    parts, start = [], 0
    for tap in taps:
        if tap.name in chosen:
            part = np.asarray(features[:, start : start + tap.channels], np.float32)
            squares = np.einsum("bk,bk->b", part, part)[:, np.newaxis]
            parts.append(part / (np.sqrt(squares) + np.float32(_LENGTH)))
        start += tap.channels
    return np.concatenate(parts, axis=1)


def energies(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Give the energy of each row of logits `[B, C]`, float64 `[B]`: low where one is large."""
    values = np.asarray(logits, np.float64)
    largest = np.maximum.reduce(values, axis=1, keepdims=True)
    sums = np.add.reduce(np.exp(values - largest), axis=1)
    return np.asarray(-largest[:, 0] - np.log(sums))


def unlikenesses(
    entry: FamiliarityEntry,
    features: NDArray[np.float32],
    taps: Sequence[TapEntry],
    logits: NDArray[np.float32],
    normed: dict[tuple[str, ...], NDArray[np.float32]] | None = None,
) -> NDArray[np.float64]:
    """Say how unlike the training pictures some pictures are.

    Args:
        entry: What the training pictures look like.
        features: A graph's features float32 `[B, F]`.
        taps: Whose they are.
        logits: The task's logits float32 `[B, C]`, before their temperature.
        normed: Normed features of these pictures by the taps, which tasks share; what is missing is
            added.

    Returns:
        float64 `[B]`, 0 or more: 1 at the bound, and 1 more for each standard deviation of either
        measure beyond.

    Raises:
        GraphError: A feature or logit is NaN or infinite.
    """
    normed = {} if normed is None else normed
    if entry.taps not in normed:
        normed[entry.taps] = normed_features(features, taps, entry.taps)
    # Of a frame there are few numbers from here on: Python's own are faster than arrays of them.
    mean, deviation = entry.distance
    found = space_of(entry).distances(normed[entry.taps]).tolist()
    scores = [(distance - mean) / deviation for distance in found]
    if entry.energy:
        mean, deviation = entry.energy
        more = energies(logits).tolist()
        scores = [s + (e - mean) / deviation for s, e in zip(scores, more, strict=True)]
    if not all(map(math.isfinite, scores)):
        raise GraphError(_NOT_FINITE)
    return np.array([max(0.0, 1 + score - entry.bound) for score in scores])


def standardised(
    values: NDArray[np.floating[Any]], moments: tuple[float, ...]
) -> NDArray[np.float64]:
    """Take the mean off values and divide them by the deviation."""
    return np.asarray((np.asarray(values, np.float64) - moments[0]) / moments[1], np.float64)
