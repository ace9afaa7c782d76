"""Readouts beside a graph's own tasks: whether they fit it, and what they answer.

Axes: B pictures of a batch; F features of the graph; C labels; K features that a readout reads.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from snow_runtime.confidence.familiarity import unlikenesses
from snow_runtime.errors import ReadoutError
from snow_runtime.readout.file import ReadoutFile
from snow_runtime.self_check import SELF_CHECK_TOLERANCES, check_answers

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from snow_runtime.backends.session import Session
    from snow_runtime.graph.features_entry import FeaturesEntry
    from snow_runtime.graph.manifest import Manifest, Precision, TaskEntry


class Readouts:
    """The readouts that are evaluated on one graph's features; threads may add and remove them.

    Args:
        session: What runs the graph.
        manifest: What the graph is.
    """

    def __init__(self, session: Session, manifest: Manifest) -> None:
        self._session = session
        self._manifest = manifest
        self._changing = threading.Lock()
        self._check: NDArray[np.float32] | None = None
        self._placed: tuple[ReadoutFile, ...] = ()  # never changed, only exchanged as a whole

    @property
    def placed(self) -> tuple[ReadoutFile, ...]:
        """The readouts, in the order in which they were added."""
        return self._placed

    def add(
        self, given: ReadoutFile | str | os.PathLike[str], *, replace: bool = False
    ) -> ReadoutFile:
        """Let a readout answer from the next call on.

        Args:
            given: The readout, or its file.
            replace: Whether it may take the place of a readout of its name.

        Raises:
            ReadoutError: It cannot be read, does not fit the graph, answers otherwise than it did
                where it was fitted, or its name is taken. Nothing was changed.
            GraphError: The model is closed, or the computation failed.
        """
        readout = given if isinstance(given, ReadoutFile) else ReadoutFile.read(given)
        with self._changing:
            self._check_fits(readout)
            self._check_name(readout.name, replace=replace)
            names = [each.name for each in self._placed]
            if readout.name in names:
                place = names.index(readout.name)
                self._placed = (*self._placed[:place], readout, *self._placed[place + 1 :])
            else:
                self._placed = (*self._placed, readout)
        return readout

    def check(self, readout: ReadoutFile) -> None:
        """Check that a readout could answer, but for its name.

        Raises:
            ReadoutError: It does not fit the graph, or answers otherwise than where it was fitted.
            GraphError: The model is closed, or the computation failed.
        """
        with self._changing:
            self._check_fits(readout)

    def remove(self, name: str) -> None:
        """Take a readout away, from the next call on.

        Raises:
            ReadoutError: There is none of this name.
        """
        with self._changing:
            left = tuple(each for each in self._placed if each.name != name)
            if len(left) == len(self._placed):
                names = ", ".join(each.name for each in self._placed) or "none"
                what = "a task of the graph" if name in self._own_names else "not here"
                msg = (
                    f"The readout {name!r} is {what}, expected one that was added: {names}. Name "
                    "one of those."
                )
                raise ReadoutError(msg)
            self._placed = left

    @property
    def _own_names(self) -> list[str]:
        return [task.name for task in self._manifest.tasks]

    def _check_fits(self, readout: ReadoutFile) -> None:
        check_readout_fits(readout, self._manifest)
        check_same_answers(readout, self._check_features(), self._manifest.precision)

    def _check_name(self, name: str, *, replace: bool) -> None:
        if name in self._own_names:
            msg = (
                f"The graph has a task {name!r} of its own, expected another name for a readout. "
                "Fit it under another --name."
            )
            raise ReadoutError(msg)
        if not replace and name in [each.name for each in self._placed]:
            msg = (
                f"There is a readout {name!r} already, expected another name. Remove that one "
                "first, or replace it."
            )
            raise ReadoutError(msg)

    def _check_features(self) -> NDArray[np.float32]:
        """Give the check picture's features `[F]`; the graph runs once for all readouts."""
        if self._check is None:
            self._check = check_features(self._session, self._manifest)
        return self._check


def task_logits(
    readouts: Iterable[ReadoutFile], manifest: Manifest, outputs: Mapping[str, NDArray[np.float32]]
) -> list[tuple[TaskEntry, NDArray[np.float32]]]:
    """Put what readouts say beside what a graph's own tasks say.

    Args:
        readouts: Readouts that fit the graph.
        manifest: What the graph is.
        outputs: What the graph gave by output, float32 `[B, C]` of a task, `[B, F]` of features.

    Returns:
        The graph's tasks, then the readouts', each with its logits float32 `[B, C]`.
    """
    found = [(task, outputs[task.output]) for task in manifest.tasks]
    for readout in readouts:
        features = outputs[features_of(manifest).output]
        found.append((readout.facts.task, readout.logits(features)))
    return found


def task_unlikenesses(
    task: TaskEntry,
    logits: NDArray[np.float32],
    manifest: Manifest,
    outputs: Mapping[str, NDArray[np.float32]],
    normed: dict[tuple[str, ...], NDArray[np.float32]],
) -> NDArray[np.float64] | None:
    """Say how unlike a task's training pictures some pictures are.

    Args:
        task: The task.
        logits: Its logits float32 `[B, C]`.
        manifest: What the graph is.
        outputs: What the graph gave by output.
        normed: Features of these pictures that the other tasks have normed; it gains this one's.

    Returns:
        float64 `[B]`; None where the task does not say what its pictures look like, or the graph
        gives out no features.
    """
    known = None if task.confidence is None else task.confidence.familiarity
    if known is None or manifest.features is None:
        return None
    features = outputs[manifest.features.output]
    return unlikenesses(known, features, manifest.features.taps, logits, normed)


def features_of(manifest: Manifest) -> FeaturesEntry:
    """Say where a graph gives its features out.

    Raises:
        ReadoutError: Nowhere.
    """
    if manifest.features is None:
        msg = (
            "The graph gives out no features, which readouts read: expected one that was exported "
            "with --features. Export it again with 'snow-deploy export --features'."
        )
        raise ReadoutError(msg)
    return manifest.features


def check_features(session: Session, manifest: Manifest) -> NDArray[np.float32]:
    """Give a graph's features `[F]` of the check picture.

    Raises:
        ReadoutError: It gives none out.
        GraphError: It is closed, or the computation failed.
    """
    features = features_of(manifest).output
    return np.asarray(check_answers(session, manifest)[features], np.float32)


def check_readout_fits(readout: ReadoutFile, manifest: Manifest) -> None:
    """Check that a readout reads what a graph gives out.

    Raises:
        ReadoutError: The graph gives no features, or is of another source, preprocessing or taps.
    """
    given, facts = features_of(manifest), readout.facts
    what = f"The readout {readout.name!r} does not fit this graph"
    if facts.source.sha256 != manifest.source.sha256:
        mine, others = facts.source, manifest.source
        msg = (
            f"{what}: it reads the source {mine.architecture} {mine.sha256[:12]}, expected "
            f"{others.architecture} {others.sha256[:12]}. Fit it on this graph."
        )
        raise ReadoutError(msg)
    if facts.preprocessing != manifest.preprocessing:
        msg = (
            f"{what}: its pictures were prepared by {facts.preprocessing}, expected "
            f"{manifest.preprocessing}. Fit it on this graph."
        )
        raise ReadoutError(msg)
    if facts.taps != given.taps:
        mine_, others_ = (
            ", ".join(f"{tap.name} of {tap.channels}" for tap in taps)
            for taps in (facts.taps, given.taps)
        )
        msg = (
            f"{what}: it was fitted on the taps {mine_}, expected {others_}. Export the graph "
            "again with the version that fitted it, or fit it on this graph."
        )
        raise ReadoutError(msg)


def check_same_answers(
    readout: ReadoutFile, features: NDArray[np.float32], precision: Precision
) -> None:
    """Check that a readout answers about the check picture as it did where it was fitted.

    A logit is a sum of many terms w f, which are rounded each by itself and largely cancel. So the
    error is measured in units of the largest logit or of the largest root of the sum of the
    squares of the terms, whichever is larger.

    Args:
        readout: The readout, which fits the graph.
        features: The check picture's features `[F]`, by the graph.
        precision: Precision of the graph. Where the readout was fitted on one of a coarser
            precision, that one's tolerance counts.

    Raises:
        ReadoutError: A logit is off by more than rounding.
    """
    expected = np.asarray(readout.facts.check_logits)
    terms = np.sqrt((readout.weight**2) @ (features[readout.index] ** 2))
    scale = max(1.0, float(np.abs(expected).max()), float(terms.max()))
    found = readout.logits(features[np.newaxis])[0]
    error = float(np.abs(found - expected).max()) / scale
    tolerance = max(SELF_CHECK_TOLERANCES[each] for each in (precision, readout.facts.precision))
    if not error <= tolerance:  # NaN is not
        msg = (
            f"The readout {readout.name!r} does not answer as it did when it was fitted: on the "
            f"check picture a logit is off by {error:.2g} of the largest one, expected at most "
            f"{tolerance:g} between {readout.facts.precision} and {precision}. Fit it on this "
            "graph; if it persists, the driver or the backend computes wrongly."
        )
        raise ReadoutError(msg)
