"""Questions of a collection in `snow-deploy run`: fitted anew, and asked."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import click

from snow_runtime.errors import CollectionError, MissingDependencyError, SnowError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from snow_deploy.cli.run_options import RunOptions
    from snow_deploy.cli.run_plan import RunPlan
    from snow_runtime.app.loop import Loop
    from snow_runtime.app.questions.asking import Questions
    from snow_runtime.app.questions.question import Question
    from snow_runtime.collection.records import CollectionQuestion
    from snow_runtime.drift.reference import Reference
    from snow_runtime.refit.service import RefitService

_LOGGER = logging.getLogger(__name__)


def begin_refitting(
    now: Callable[[], RunPlan], loop: Loop, stack: ExitStack
) -> RefitService | None:
    """Fit the questions of the collection after labels, if frames are kept and that is asked for.

    Args:
        now: Function that gives what is to be done, which may change while it runs.
        loop: What answers.
        stack: Ends it.

    Returns:
        What fits; None where nothing does.
    """
    plan, options = now(), now().options
    if options.collect is None or loop.collecting is None or not options.refit:
        return None
    from snow_runtime.collection.collection import Collection
    from snow_runtime.learn.fit import check_can_fit
    from snow_runtime.refit.options import RefitOptions
    from snow_runtime.refit.service import RefitService

    try:
        check_can_fit("readout")
    except MissingDependencyError as error:
        click.echo(f"note: readouts are not fitted here: {error}", err=True)
        return None
    try:
        collection = Collection.open(options.collect, options=plan.collecting)
    except CollectionError as error:  # what collects has looked whether it is one at all
        click.echo(f"warning: nothing is fitted until run begins anew: {error}", err=True)
        return None
    stack.enter_context(collection)
    how = RefitOptions(memory_bytes=options.refit_memory)
    service = RefitService(collection, loop.model, options=how)
    service.start()
    stack.callback(service.stop)

    references = References(service, loop)

    def ask() -> None:
        loop.questions = questions_asked(now(), service)
        if loop.drift is not None:
            loop.drift.know(references.now())

    def look(camera: str, view: str, features: Any, answers: Any) -> None:
        service.saw(camera, view, features, answers)
        if loop.drift is not None:
            loop.drift.look(camera, answers, features, time.time())

    loop.added, loop.collecting.beside = service, look
    service.when_changed = ask
    ask()
    return service


def begin_watching(options: RunOptions, loop: Loop) -> None:
    """Watch for drift, if that is asked for.

    Args:
        options: The command's.
        loop: What answers.

    Raises:
        MissingDependencyError: scipy, whose functions the test takes, is not installed.
    """
    if not options.drift:
        return
    from snow_runtime.drift.watcher import DriftWatcher
    from snow_runtime.readout.import_learn import import_learn

    import_learn("scipy.special")  # better said now than at the first frame
    loop.drift = DriftWatcher()
    loop.stats.drift = loop.drift.to_dict


class References:
    """What the live versions were fitted on, to compare frames with.

    Each is made once: a question whose version stays is watched on, whatever becomes of others.

    Args:
        service: What fits.
        loop: What answers.
    """

    def __init__(self, service: RefitService, loop: Loop) -> None:
        self._service = service
        self._loop = loop
        self._made: dict[str, tuple[tuple[int, str], Reference | None]] = {}

    def now(self) -> dict[str, Reference]:
        """Give those of the versions that answer now, by question."""
        source = self._loop.model.manifest.source.sha256
        wanted = {name: (number, source) for name, number in self._service.numbers.items()}
        kept = {name: each for name, each in self._made.items() if wanted.get(name) == each[0]}
        new = wanted.keys() - kept.keys()
        self._made = kept | {name: (wanted[name], self._of(name)) for name in new}
        return {name: each for name, (_, each) in self._made.items() if each is not None}

    def _of(self, name: str) -> Reference | None:
        from snow_runtime.drift.reference import reference_of

        entry = self._loop.model.manifest.features
        try:
            given = self._service.trained_on(name)
        except SnowError as error:
            _LOGGER.warning("Drift of %s is looked for by its readout alone: %s", name, error)
            return None
        return None if given is None or entry is None else reference_of(*given, entry.taps)


def questions_asked(plan: RunPlan, service: RefitService | None = None) -> Questions | None:
    """Give what is asked about which views; None where all tasks are about whole pictures.

    Args:
        plan: What to do.
        service: What answers the collection's questions, where something does.
    """
    from snow_runtime.app.questions.asking import Questions

    if plan.questions is None:
        return None
    added = () if service is None else service.answered
    found = {(each.camera, each.name): each for each in plan.questions}
    for question in added:
        for each in _asked(question, plan):
            found.setdefault((each.camera, each.name), each)
    return Questions(found.values())


def _asked(question: CollectionQuestion, plan: RunPlan) -> list[Question]:
    """Give what a collection's question asks of each of its cameras."""
    from snow_runtime.app.questions.question import Question
    from snow_runtime.app.questions.view import CameraView

    views = {(camera, view.name): view for camera, drawn in plan.views.items() for view in drawn}
    views |= {(each.camera, each.view.name): each.view for each in plan.questions or ()}
    name, found = question.view or "", []
    for camera, _ in plan.cameras:
        if question.camera not in {None, camera}:
            continue
        view = CameraView() if not name else views.get((camera, name))
        if view is not None:
            found.append(Question(question.name, question.name, camera, view))
    if not found:
        _LOGGER.warning(
            "The question %s of the collection is about the view %s of %s, which nothing here "
            "looks at, and is not asked.",
            question.name,
            name or "of the whole picture",
            question.camera or "any camera",
        )
    return found
