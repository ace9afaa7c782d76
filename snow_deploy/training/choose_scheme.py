"""A readout or a delta: the readout is fitted, and a delta trained where it gains beyond chance.

All that the choice rests on are training pictures. What is stored is measured on the test pictures
afterwards, and nothing else is.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from snow_deploy.data.hold_out import hold_out
from snow_deploy.data.workers import workers_watched
from snow_deploy.errors import DataError, DivergedError, ResumeError, TrainingError
from snow_deploy.models.source import Source
from snow_deploy.models.source_checks import check_pictures
from snow_deploy.training.accuracy_interval import accuracy_interval
from snow_deploy.training.delta_cost import compare_costs
from snow_deploy.training.delta_trial import (
    compare,
    fewest_to_gain,
    try_delta,
    wrong_answers,
)
from snow_deploy.training.feature_cache import FeatureCache
from snow_deploy.training.fit_pictures import Fit, fit_training_pictures
from snow_deploy.training.fit_readouts import fit_tasks, measure_fit
from snow_deploy.training.resume import refuse_overwriting
from snow_deploy.training.run import train_tasks
from snow_deploy.training.task_lock import exclusive
from snow_deploy.training.task_requests import TaskRequest
from snow_runtime.errors import FitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from snow_deploy.data.pictures import Splits
    from snow_deploy.training.delta_trial import Comparison
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.outcome import TrainingOutcome
    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.store import Store
    from snow_runtime.progress import ProgressCallback

    ShowProgress = Callable[[str], AbstractContextManager[ProgressCallback | None]]

WhichDelta = Literal["auto", "never", "always"]


@dataclass(frozen=True)
class SchemeRequest:
    """A task whose scheme is to be chosen.

    Attributes:
        name: Name of the task.
        splits: Its pictures and labels.
        readout: How a readout is fitted.
        delta: How a delta is trained, and a trial of one.
        which: Whether a delta is stored: `auto`, where it gains beyond chance.
    """

    name: str
    splits: Splits
    readout: TrainOptions
    delta: TrainOptions
    which: WhichDelta = "auto"


@dataclass(frozen=True)
class Decision:
    """What is stored, and why.

    Attributes:
        scheme: The scheme.
        figures: What the decision rests on, for the task's metrics.
    """

    scheme: Literal["readout", "snow"]
    figures: Mapping[str, float]


def train_chosen(
    store: Store,
    request: SchemeRequest,
    settings: RunSettings,
    say: Callable[[str], None],
    show: ShowProgress = lambda _: nullcontext(),
) -> TrainingOutcome:
    """Fit a readout, see what a delta could bring, and store the one or the other.

    Args:
        store: Store that holds a source.
        request: The task.
        settings: Settings of the runs; there is nothing to resume.
        say: Callback that gets what was found and decided, a line at a time.
        show: Function from a label to a context that shows how far a pass over pictures is.

    Returns:
        The task as stored, of the scheme `readout` or `snow`; among its metrics are `auto_readout`,
        the cross-validated accuracy, with its interval, and of a trial `auto_delta`,
        `auto_gain` and others.

    Raises:
        ResumeError: A resume is asked for.
        TrainingError: The task is there already, or torchrun has started several processes.
        FitError: There are too few pictures, of a class or altogether.
        SnowError: As for `fit_tasks` and `train_tasks`.
    """
    _check(store, request, settings)
    fit, decision = _decide(store, request, settings, say, show)
    if decision.scheme == "readout":
        wanted = TaskRequest(request.name, request.splits, request.readout)
        with show("source") as progress:
            outcome = fit_tasks(store, [wanted], settings, progress, fits={request.name: fit})
    else:
        outcome = _train_delta(store, request, settings)
    records = tuple(
        replace(each, metrics={**each.metrics, **decision.figures}) for each in outcome.records
    )
    for record in records:
        store.save_task(record)
    return replace(outcome, records=records)


def _check(store: Store, request: SchemeRequest, settings: RunSettings) -> None:
    if settings.resume:
        msg = (
            "--scheme auto has nothing to go on with: its trial begins again, on the features that "
            "are kept. Leave --resume out; where it had begun to train its delta on all pictures, "
            "give --scheme snow in its place, the delta's options and --resume."
        )
        raise ResumeError(msg)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        msg = (
            "--scheme auto runs in one process, not in several of torchrun. Start it by itself, or "
            "train with --scheme snow."
        )
        raise TrainingError(msg)
    if not settings.overwrite:
        refuse_overwriting(store, request.name)


def _decide(
    store: Store,
    request: SchemeRequest,
    settings: RunSettings,
    say: Callable[[str], None],
    show: ShowProgress,
) -> tuple[Fit, Decision]:
    """Fit the readout on all training pictures, and decide; nothing is stored."""
    splits = request.splits
    weights = store.source_weights()
    with exclusive(store, [request.name]), workers_watched():
        source = Source(weights)
        size = request.readout.image_size
        check_pictures(source, size)
        preprocessing = weights.preprocessing(size)
        cache = FeatureCache(store, source, preprocessing, workers=settings.workers)
        whole = TaskRequest(request.name, splits, request.readout)
        with show("source") as progress:
            fit = fit_training_pictures(whole, cache, progress)
        figures = _say_readout(fit, say)
        cost = compare_costs(weights, splits, request.delta, len(fit.fitted.index))
        steps_s = cost.picture_s * request.delta.epochs * fit.pictures
        say(
            f"a delta has {cost.delta.parameters:,} parameters (the readout "
            f"{cost.readout.parameters:,}) and {cost.delta.share:.3f} of the source's "
            f"multiply-adds (the readout {cost.readout.share:.5f}); its training computes for "
            f"{_duration(steps_s)} or more"
        )
        if request.which != "auto":
            what = "a delta is trained" if request.which == "always" else "the readout is stored"
            say(f"no trial: {what}, as --delta {request.which} asks")
            scheme: Literal["readout", "snow"] = "snow" if request.which == "always" else "readout"
            return fit, Decision(scheme, figures)
        found = _try(store, request, settings, cache, say)
        if found is None:
            return fit, Decision("readout", figures)
        if not found.is_gain:
            say("that is within chance: the readout is stored")
            return fit, Decision("readout", {**figures, **_figures(found)})
        say("that is beyond chance: a delta is trained on all training pictures")
        return fit, Decision("snow", {**figures, **_figures(found)})


def _try(
    store: Store,
    request: SchemeRequest,
    settings: RunSettings,
    cache: FeatureCache,
    say: Callable[[str], None],
) -> Comparison | None:
    """Compare a delta with a readout on a held-out part; None where that can show nothing."""
    stays = "; the readout is stored (--delta always trains a delta all the same)"
    try:
        held = hold_out(request.splits, seed=request.delta.seed)
        part = fit_training_pictures(TaskRequest(request.name, held, request.readout), cache)
    except (DataError, FitError) as error:
        say(f"no trial: a part of so few pictures cannot be held out ({error}){stays}")
        return None
    measured, _ = measure_fit(part, held.final[1], cache)
    wrong = wrong_answers(measured.answers)
    errors, needed = int((wrong > 0).sum()), fewest_to_gain()
    if errors < needed:
        say(
            f"no trial: the readout errs on {errors} of {len(wrong)} held-out pictures, and below "
            f"{needed} no gain can be told from chance{stays}"
        )
        return None
    say(
        f"trial: a delta and a readout of {part.pictures} training pictures, compared on the "
        f"{len(wrong)} held out"
    )
    try:
        on_the_rest = replace(request.delta, hold_out=0.0)  # as the readout, on all of it
        answers, took_s = try_delta(store, request.name, held, on_the_rest, settings)
    except DivergedError as error:
        say(f"the trial came to nothing ({error}){stays}")
        return None
    found = compare(measured.answers, answers)
    say(
        f"there the delta reaches {found.delta:.4f} and the readout {found.readout:.4f}: better on "
        f"{found.won} and worse on {found.lost} of {found.lead.pictures} pictures, "
        f"{found.lead.text()} at 95 %, p {found.p:.2g}"
    )
    whole_s = took_s * len(request.splits.train) / part.pictures
    say(
        f"the trial took {_duration(took_s)}; on all {len(request.splits.train)} training pictures "
        f"it would be about {_duration(whole_s)}"
    )
    return found


def _train_delta(store: Store, request: SchemeRequest, settings: RunSettings) -> TrainingOutcome:
    try:
        wanted = TaskRequest(request.name, request.splits, request.delta)
        return train_tasks(store, [wanted], settings)
    except KeyboardInterrupt as stopped:
        advice = (
            "interrupted; go on with the same command, but --scheme snow for --scheme auto, "
            "without the options of readouts and --delta, and with --resume"
        )
        raise KeyboardInterrupt(advice) from stopped


def _say_readout(fit: Fit, say: Callable[[str], None]) -> dict[str, float]:
    """Tell what the readout reaches and what it leaves to gain; return it."""
    accuracy, features = fit.fitted.chosen.accuracy, len(fit.fitted.index)
    low, high = accuracy_interval(fit.fitted.right)
    say(
        f"readout: {accuracy:.4f} ({low:.4f} to {high:.4f} at 95 %) by cross-validation on "
        f"{fit.pictures} training pictures, {features} features, fitted in {fit.took_s:.1f} s"
    )
    say(f"at most a delta could bring {1 - accuracy:.4f} ({1 - high:.4f} to {1 - low:.4f})")
    return {"auto_readout": accuracy, "auto_readout_low": low, "auto_readout_high": high}


def _figures(found: Comparison) -> dict[str, float]:
    return {
        "auto_held_out": float(found.lead.pictures),
        "auto_held_out_readout": found.readout,
        "auto_delta": found.delta,
        "auto_gain": found.lead.mean,
        "auto_gain_low": found.lead.low,
        "auto_gain_high": found.lead.high,
        "auto_p": found.p,
    }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
