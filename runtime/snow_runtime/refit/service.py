"""Fits a collection's questions anew after labels, beside the frames, and lets good fits answer.

One thread looks at the collection, begins one process at a time that fits, and puts what comes of
it through the gate. Whatever ends that process or this one, the version that answered goes on, or
comes back at the next start.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from snow_runtime.collection.version_folders import sweep_versions
from snow_runtime.errors import SnowError
from snow_runtime.refit.fitter import Fitter
from snow_runtime.refit.gathering import Looking
from snow_runtime.refit.options import RefitOptions
from snow_runtime.refit.process import FitProcess
from snow_runtime.refit.report import report_of
from snow_runtime.refit.shadow import is_about
from snow_runtime.refit.switch import Switch
from snow_runtime.refit.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectionQuestion
    from snow_runtime.readout.file import ReadoutFile
    from snow_runtime.refit.fitter import Begin
    from snow_runtime.refit.versions import Version
    from snow_runtime.results import TaskResult
    from snow_runtime.swap import SwappableModel

_LOGGER = logging.getLogger(__name__)


class RefitService:
    """Keeps the readouts of a collection's questions up to date on a model at work.

    Args:
        collection: The collection.
        model: The model.
        folder: Folder of all versions; None: `versions` in the collection's.
        options: How they are fitted; None for the usual.
        begin: Function that begins a fit.

    Attributes:
        when_changed: Function that is called when other questions are answered than before, or by
            other versions; None for none.
    """

    def __init__(
        self,
        collection: Collection,
        model: SwappableModel,
        folder: Path | None = None,
        options: RefitOptions | None = None,
        begin: Begin = FitProcess,
    ) -> None:
        self._collection = collection
        self._folder = collection.folder / "versions" if folder is None else folder
        self._options = options or RefitOptions()
        self._switch = Switch(model, self._folder)
        self._ending = threading.Event()
        looking = Looking(model, self._ending)
        self._fitter = Fitter(collection, self._switch, looking, self._options, begin)
        self._lock = threading.RLock()
        self._asked: dict[str, Wanted] = {}
        self._logged: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._looked_at = float("-inf")
        self._questions: dict[str, CollectionQuestion] = {}  # exchanged as a whole
        self._told: object = None
        self.when_changed: Callable[[], None] | None = None

    def start(self) -> None:
        """Let the live versions answer, and begin to follow the labels.

        A version that does not fit the model is told, and does not answer.

        Raises:
            CollectionError: The collection cannot be read.
        """
        self._questions = {each.name: each for each in self._collection.questions()}
        sweep_versions(self._folder, self._questions)
        for question in self._questions.values():
            versions = self._switch.versions(question.name)
            if versions.folder.is_dir():
                versions.sweep()
            self._switch.follow(question)
        self._thread = threading.Thread(target=self._run, name="refitting", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, and a fit under way; what answers goes on answering."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            self._fitter.close()
            for name in list(self._asked):
                self._guarded(self._switch.keep_counts, name)

    def request(self, question: str) -> None:
        """Have a question fitted soon, as after labels."""
        with self._lock:
            self._asked.setdefault(question, Wanted()).want()

    def fit_now(self, question: str) -> Version | None:
        """Fit a question, and wait for it; for who has not called :meth:`start`.

        Returns:
            The new version, decided on; None where labels are lacking or it cannot be fitted:
            then look at :meth:`status`.

        Raises:
            CollectionError: There is no such question, or the collection cannot be read.
        """
        asked = self._collection.question(question)
        self._switch.follow(asked)
        wanted = self._asked.setdefault(question, Wanted())
        try:
            self._fitter.begin(asked, wanted, again=True)
            fitting = self._fitter.current
            while self._fitter.current is not None:
                self._fitter.attend(wanted)
                time.sleep(self._options.tick_s)
        finally:  # Ctrl-C, too
            self._fitter.close()
        if fitting is None or fitting.number is None:
            return None
        return self._switch.versions(question).one(fitting.number)

    def status(self, question: str) -> dict[str, Any]:
        """Say how a question stands, as plain JSON values.

        `phase` is `idle`, `waiting` (for labels to end), `fitting`, `lacking` (labels) or `failed`;
        `text` says why. `live` is the number of the version that answers, `newest` of the newest.
        """
        with self._lock:
            asked = self._asked.get(question, Wanted())
            versions = self._switch.versions(question)
            state, all_ = versions.state(), versions.all()
            fitting = self._fitter.current
            text = asked.text or self._switch.trouble(question)
            phase = "failed" if asked.failed else "lacking" if asked.text else "idle"
            if fitting is not None and fitting.question.name == question and not fitting.taken:
                phase, text = "fitting", f"{len(fitting.job.ids)} pictures"
            elif asked.wanted_since is not None:
                phase = "waiting"
            elif text and phase == "idle":
                phase = "failed"
            agreed, differed = self._switch.shadows.counts(question)
            shadow = None
            if state.shadow is not None:
                shadow = {**state.shadow.to_dict(), "agreed": agreed, "differed": differed}
            return {
                "question": question,
                "phase": phase,
                "text": text,
                "live": state.live,
                "newest": all_[-1].number if all_ else None,
                "version": next((each.to_dict() for each in all_ if each.state == "live"), None),
                "shadow": shadow,
            }

    def versions(self, question: str) -> tuple[Version, ...]:
        """Give a question's versions, the oldest first."""
        return self._switch.versions(question).all()

    def report(self, question: str, number: int | None = None) -> dict[str, Any]:
        """Report on a version of a question, as plain JSON values; nothing where there is none.

        Args:
            question: Name of the question.
            number: Number of the version; None: the newest.

        Raises:
            ReadoutError: There is no such version.
        """
        versions = self._switch.versions(question)
        known = versions.all()
        if number is None and not known:
            return {}
        chosen = known[-1].number if number is None else number
        return report_of(versions, chosen, set(self._collection.labels(question)))

    def go_back(self, question: str, number: int) -> Version:
        """Let a version answer, an earlier one or one that was held back.

        Raises:
            ReadoutError: There is none of this number, or it does not fit the model. What answers
                stays.
        """
        return self._switch.go_live(question, number, "chosen by hand")

    def shadow(self, question: str, number: int, seconds: float) -> Version:
        """Let a version answer beside the live one, unheard; then the gate decides.

        Args:
            question: Name of the question.
            number: Number of the version.
            seconds: For how long; :meth:`go_back` decides earlier.

        Raises:
            ReadoutError: There is none of this number, it is the live one, none is live, or it
                does not fit the model.
            CollectionError: There is no such question.
        """
        asked = self._collection.question(question)
        return self._switch.begin_shadow(asked, number, seconds)

    def saw(
        self,
        camera: str,
        view: str,
        features: NDArray[np.float32],
        answers: Mapping[str, TaskResult],
    ) -> None:
        """Take a frame's features float32 `[F]` and answers; see :meth:`Shadows.saw`."""
        self._switch.shadows.saw(camera, view, features, answers)

    @property
    def answered(self) -> tuple[CollectionQuestion, ...]:
        """The questions that a version answers now."""
        names = set(self.names)
        return tuple(each for name, each in self._questions.items() if name in names)

    @property
    def numbers(self) -> dict[str, int]:
        """Numbers of the versions that answer now, by question."""
        return self._switch.numbers

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the questions that a version answers now."""
        return tuple(readout.name for readout in self._switch.live)

    def is_about(self, camera: str, name: str) -> bool:
        """Tell whether a question is about a camera's whole picture; one of others is."""
        question = self._questions.get(name)
        return question is None or is_about(question, camera, "")

    def trained_on(self, question: str) -> tuple[NDArray[np.float16], NDArray[np.int64]] | None:
        """Give what the live version of a question was fitted on, as far as it is there still.

        Returns:
            Features float16 `[N, F]`, and which of the pictures tell much the same, int64 `[N]`;
            None where that is not known.

        Raises:
            SnowError: It cannot be read.
        """
        number = self._switch.numbers.get(question)
        if number is None:
            return None
        evidence = self._switch.versions(question).evidence(number)
        ids, source = evidence.ids.tolist(), self._fitter.source_sha256
        there = [
            each.id
            for each in self._collection.pictures(ids=ids, limit=len(ids))
            if each.source_sha256 == source and each.features_width is not None
        ]
        if not there:
            return None
        rows = {number: row for row, number in enumerate(ids)}
        return self._collection.features(there), evidence.moments[[rows[each] for each in there]]

    @property
    def live(self) -> tuple[ReadoutFile, ...]:
        """The readouts that answer; a model that takes the place of this one gets them too."""
        return self._switch.live

    def after_swap(self) -> None:
        """Take note that another model is at work."""
        self._switch.after_swap()
        self._told = None
        self._looked_at = float("-inf")
        with self._lock:
            for asked in self._asked.values():
                asked.revision = -1

    def _run(self) -> None:
        while not self._ending.wait(self._options.tick_s):
            self._guarded(self._tick)

    def _guarded(self, work: Any, *given: Any) -> None:
        """Do something whose failure must not end the thread."""
        try:
            work(*given)
        except Exception as error:
            text, of = f"{type(error).__name__}: {error}", str(given[0]) if given else ""
            if text != self._logged.get(of):  # as it may be so for hours, many times a second
                self._logged[of] = text
                known = isinstance(error, SnowError)
                _LOGGER.warning("refitting is held up: %s", error, exc_info=not known)

    def _tick(self) -> None:
        if time.monotonic() - self._looked_at >= self._options.look_s:
            self._looked_at = time.monotonic()
            self._look()
        fitting = self._fitter.current
        if fitting is not None:
            name, options = fitting.question.name, self._options
            with self._lock:
                others = [asked for other, asked in self._asked.items() if other != name]
            waiting = any(asked.waits_long(options) for asked in others)
            self._fitter.attend(self._asked.get(name), others_wait=waiting)
            self._tell_changes()
            return
        with self._lock:
            due = [
                (asked.wanted_since or 0.0, name)
                for name, asked in self._asked.items()
                if name in self._questions and asked.is_due(self._options)
            ]
        if due:  # who has waited for longest, so that no question keeps others from their turn
            _, name = min(due)
            self._fitter.begin(self._questions[name], self._asked[name])

    def _look(self) -> None:
        """See what has changed: labels, questions, and which versions are to answer."""
        questions = {each.name: each for each in self._collection.questions()}
        self._questions = questions
        for name in {*self._switch.known, *self._asked} - questions.keys():
            self._switch.forget(name)
            with self._lock:
                self._asked.pop(name, None)
        for name in questions:
            self._guarded(self._look_at, name)  # what is wrong with one holds up no other one
        self._tell_changes()

    def _look_at(self, name: str) -> None:
        question = self._questions[name]
        self._switch.follow(question)
        self._see_revision(name)
        self._end_shadow_when_due(question)

    def _tell_changes(self) -> None:
        now = self.answered, self._switch.numbers
        if now != self._told:
            self._told = now
            if self.when_changed is not None:
                self.when_changed()

    def _see_revision(self, name: str) -> None:
        revision = self._collection.revision(name)
        with self._lock:
            asked = self._asked.setdefault(name, Wanted())
            if asked.revision == revision:
                return
            first, asked.revision = asked.revision < 0, revision
        known = self._switch.versions(name).all()
        if first and known and known[-1].reason == "not decided yet":
            self._fitter.decide(self._questions[name], known[-1].number)
        with self._lock:
            newest = (known[-1].revision, known[-1].source_sha256) if known else None
            fits = newest == (revision, self._fitter.source_sha256)
            if not fits and (revision or not first):
                asked.want()

    def _end_shadow_when_due(self, question: CollectionQuestion) -> None:
        shadow = self._switch.keep_counts(question.name)
        if shadow is not None and time.time() >= shadow.until:
            self._fitter.decide(question, shadow.number)
