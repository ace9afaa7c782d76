"""Fitting a readout on labelled pictures, and all that its file has to say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from snow_runtime._version import __version__
from snow_runtime.confidence.find import HeldOutAnswers, familiarity_of, find_confidence
from snow_runtime.graph.manifest import TaskEntry
from snow_runtime.graph.task_name import check_task_name
from snow_runtime.learn.collect import LookedAt, look_at
from snow_runtime.readout.evaluate import features_of
from snow_runtime.readout.facts import FitEntry, ReadoutFacts
from snow_runtime.readout.file import ReadoutFile
from snow_runtime.readout.fit import FitOptions, FittedReadout, fit_readout
from snow_runtime.readout.import_learn import import_learn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from snow_runtime.graph.features_entry import TapEntry
    from snow_runtime.learn.collect import GivenPicture
    from snow_runtime.learn.targets import GivenLabels
    from snow_runtime.model import Model
    from snow_runtime.pictures.preprocessing import Colour
    from snow_runtime.progress import ProgressCallback
    from snow_runtime.swap import SwappableModel

_LOGGER = logging.getLogger(__name__)


def fit(
    model: Model | SwappableModel,
    pictures: Iterable[GivenPicture],
    labels: GivenLabels,
    *,
    name: str,
    colour: Colour = "rgb",
    options: FitOptions | None = None,
    progress: ProgressCallback | None = None,
) -> ReadoutFile:
    """Fit a readout, which the model can answer at once: ``model.add_readout(readout)``.

    The model may answer others meanwhile. Files that cannot be read and copies are left out; the
    log tells.

    Args:
        model: A model whose graph gives out features (``snow-deploy export --features``).
        pictures: Paths of photos, or pictures as the model takes them; two or more of each label.
        labels: What each picture shows: a label; or for each picture a collection of any number of
            labels, which makes a task of which several may be right at once.
        name: Name of the task.
        colour: Order of arrays' channels; OpenCV's frames are ``"bgr"``.
        options: How it is fitted; None for the usual.
        progress: Callback that hears how far it is.

    Returns:
        The readout; its ``write`` makes a file of it.

    Raises:
        FitError: There are too few pictures, of a label or altogether, none can be read, or a
            feature is not finite.
        ReadoutError: The graph gives out no features.
        ManifestError: A task may not have that name.
        InputError: A picture that is no file has another type, shape or dtype.
        GraphError: The model is closed, or the computation failed.
        MissingDependencyError: scipy is not installed; the message holds the pip command.
    """
    check_can_fit(name)
    seen = look_at(model, pictures, labels, colour, progress)
    for remark in seen.remarks:
        _LOGGER.warning("%s", remark)
    return fit_looked_at(seen, name, options)


def check_can_fit(name: str) -> None:
    """Refuse what would fail only after all pictures were looked at.

    Raises:
        ManifestError: A task may not have that name.
        MissingDependencyError: scipy is not installed.
    """
    check_task_name(name)
    import_learn("scipy.optimize")
    import_learn("threadpoolctl")


def fit_looked_at(seen: LookedAt, name: str, options: FitOptions | None = None) -> ReadoutFile:
    """Fit a readout on features that a model saw.

    Args:
        seen: Features and labels of pictures.
        name: Name of the task.
        options: How it is fitted; None for the usual.

    Raises:
        FitError: There are too few pictures, of a label or altogether.
    """
    return fit_with_answers(seen, name, options)[0]


def fit_with_answers(
    seen: LookedAt,
    name: str,
    options: FitOptions | None = None,
    groups: NDArray[np.int64] | None = None,
) -> tuple[ReadoutFile, FittedReadout]:
    """Fit a readout, and tell what each picture was answered while it was held out.

    Args:
        seen: Features and labels of pictures.
        name: Name of the task.
        options: How it is fitted; None for the usual.
        groups: int64 `[M]`, which pictures are held out together; None: each by itself.

    Raises:
        FitError: There are too few pictures, of a label or altogether, or one group of them.
    """
    targets, options = seen.targets, options or FitOptions()
    fitted = fit_readout(seen.features, targets.values, targets.labels, options, groups=groups)
    held_out = HeldOutAnswers(fitted.logits, targets.values, "cross-validation")
    taps = features_of(seen.manifest).taps
    confidence = find_confidence(
        held_out, options.right_share, familiarity_of(seen.features, held_out, taps)
    )
    logits = seen.check[fitted.index] @ fitted.weight.T + fitted.bias
    facts = ReadoutFacts(
        TaskEntry(
            name,
            name,
            targets.labels,
            selections=_by_tap(fitted.index, taps),
            metrics={"cross_validated_accuracy": fitted.chosen.accuracy},
            scheme="readout",
            answers=targets.answers,
            confidence=confidence,
        ),
        seen.manifest.source,
        seen.manifest.preprocessing,
        taps,
        seen.manifest.precision,
        tuple(logits.tolist()),
        _fit_entry(seen, fitted),
        {"snow-deploy": __version__, "numpy": np.__version__},
    )
    return ReadoutFile(facts, fitted.weight, fitted.bias), fitted


def _fit_entry(seen: LookedAt, fitted: FittedReadout) -> FitEntry:
    return FitEntry(
        len(seen.features),
        seen.targets.counts,
        fitted.chosen.accuracy,
        fitted.chosen.standard_error,
        fitted.chosen.penalty,
    )


def _by_tap(index: NDArray[np.int64], taps: Sequence[TapEntry]) -> dict[str, tuple[int, ...]]:
    """Tell chosen features by the tap that they are of, and the channel there."""
    found, start = {}, 0
    for tap in taps:
        inside = index[(index >= start) & (index < start + tap.channels)] - start
        if len(inside):
            found[tap.name] = tuple(inside.tolist())
        start += tap.channels
    return found
