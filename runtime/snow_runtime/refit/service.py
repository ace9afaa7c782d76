"""Fits a collection's questions anew after labels, beside the frames, and lets good fits answer.

One thread looks at the collection, begins one process at a time that fits, and puts what comes of
it through the gate. Whatever ends that process or this one, the version that answered goes on, or
comes back at the next start.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snow_runtime.errors import CollectionError, SnowError
from snow_runtime.refit import job as files
from snow_runtime.refit.fitting import Fitting, keep_fit
from snow_runtime.refit.gate import decide, judged_by
from snow_runtime.refit.gathering import Looking, gather
from snow_runtime.refit.options import RefitOptions
from snow_runtime.refit.process import FitProcess, sweep_fits
from snow_runtime.refit.report import report_of
from snow_runtime.refit.shadow import is_about
from snow_runtime.refit.switch import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectionQuestion
    from snow_runtime.readout.file import ReadoutFile
    from snow_runtime.refit.gathering import Gathered
    from snow_runtime.refit.job import FitJob
    from snow_runtime.refit.versions import Version
    from snow_runtime.results import TaskResult
    from snow_runtime.swap import SwappableModel

_LOGGER = logging.getLogger(__name__)


@dataclass
class _Asked:
    """What is known of a question.

    Attributes:
        revision: Revision of its labels that was looked at last.
        wanted_since: When a fit was wanted first, in monotonic seconds; None: none is.
        changed_at: When its labels changed last.
        text: What became of the last attempt, in words; "" where all is well.
        failed: Whether that is a fault.
    """

    revision: int = -1
    wanted_since: float | None = None
    changed_at: float = 0.0
    text: str = ""
    failed: bool = False

    def want(self) -> None:
        """Have it fitted soon."""
        self.changed_at = time.monotonic()
        if self.wanted_since is None:
            self.wanted_since = self.changed_at

    def is_due(self, options: RefitOptions) -> bool:
        """Tell whether it is time."""
        if self.wanted_since is None:
            return False
        now = time.monotonic()
        quiet = now - self.changed_at >= options.quiet_s
        return quiet or now - self.wanted_since >= options.most_wait_s


class RefitService:
    """Keeps the readouts of a collection's questions up to date on a model at work.

    Args:
        collection: The collection.
        model: The model.
        folder: Folder of all versions; None: `versions` in the collection's.
        options: How they are fitted; None for the usual.
        begin: Function that begins a fit.

    Attributes:
        when_changed: Function that is called when other questions are answered than before; None
            for none.
    """

    def __init__(
        self,
        collection: Collection,
        model: SwappableModel,
        folder: Path | None = None,
        options: RefitOptions | None = None,
        begin: Callable[[FitJob, Path, float], FitProcess] = FitProcess,
    ) -> None:
        self._begin_fit = begin
        self._collection = collection
        self._folder = collection.folder / "versions" if folder is None else folder
        self._options = options or RefitOptions()
        self._switch = Switch(model, self._folder)
        self._ending = threading.Event()
        self._looking = Looking(model, self._ending)
        self._lock = threading.RLock()
        self._asked: dict[str, _Asked] = {}
        self._fitting: Fitting | None = None
        self._logged = ""
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
        for question in self._questions.values():
            versions = self._switch.versions(question.name)
            if versions.folder.is_dir():
                versions.sweep()
                sweep_fits(versions.folder)
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
            if self._fitting is not None:
                self._fitting.process.close()
                self._fitting = None
            for name in list(self._asked):
                self._guarded(self._switch.keep_counts, name)

    def request(self, question: str) -> None:
        """Have a question fitted soon, as after labels."""
        with self._lock:
            self._asked.setdefault(question, _Asked()).want()

    def fit_now(self, question: str) -> Version | None:
        """Fit a question, and wait for it; for who has not called :meth:`start`.

        Returns:
            The new version, decided on; None where labels are lacking or it cannot be fitted, of
            which :meth:`status` tells.

        Raises:
            CollectionError: There is no such question, or the collection cannot be read.
        """
        self._switch.follow(self._question(question))
        with self._lock:
            self._asked.setdefault(question, _Asked())
        self._begin(question, again=True)
        fitting = self._fitting
        while self._fitting is not None:
            self._attend(self._fitting)
            time.sleep(self._options.tick_s)
        if fitting is None or fitting.number is None:
            return None
        return self._switch.versions(question).one(fitting.number)

    def status(self, question: str) -> dict[str, Any]:
        """Say how a question stands, as plain JSON values.

        `phase` is `idle`, `waiting` (for labels to end), `fitting`, `lacking` (labels) or `failed`;
        `text` says why. `live` is the number of the version that answers, `newest` of the newest.
        """
        with self._lock:
            asked = self._asked.get(question, _Asked())
            versions = self._switch.versions(question)
            state, all_ = versions.state(), versions.all()
            fitting = self._fitting
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
        asked = self._question(question)
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
    def names(self) -> tuple[str, ...]:
        """Names of the questions that a version answers now."""
        return tuple(readout.name for readout in self._switch.live)

    def is_about(self, camera: str, name: str) -> bool:
        """Tell whether a question is about a camera's whole picture; one of others is."""
        question = self._questions.get(name)
        return question is None or is_about(question, camera, "")

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

    def _question(self, name: str) -> CollectionQuestion:
        for each in self._collection.questions():
            if each.name == name:
                return each
        msg = f"The collection has no question {name!r}, expected one that was added. Check it."
        raise CollectionError(msg)

    def _run(self) -> None:
        while not self._ending.wait(self._options.tick_s):
            self._guarded(self._tick)

    def _guarded(self, work: Any, *given: Any) -> None:
        """Do something whose failure must not end the thread."""
        try:
            work(*given)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if text != self._logged:  # as it may be so for hours, many times a second
                self._logged = text
                known = isinstance(error, SnowError)
                _LOGGER.warning("refitting is held up: %s", error, exc_info=not known)

    def _tick(self) -> None:
        if time.monotonic() - self._looked_at >= self._options.look_s:
            self._looked_at = time.monotonic()
            self._look()
        if self._fitting is not None:
            self._attend(self._fitting)
            self._tell_changes()
            return
        with self._lock:
            due = [name for name, asked in self._asked.items() if asked.is_due(self._options)]
        if due:
            self._begin(due[0])

    def _look(self) -> None:
        """See what has changed: labels, questions, and which versions are to answer."""
        questions = {each.name: each for each in self._collection.questions()}
        self._questions = questions
        for name in {*self._switch.known, *self._asked} - questions.keys():
            self._switch.forget(name)
            with self._lock:
                self._asked.pop(name, None)
        for name, question in questions.items():
            self._switch.follow(question)
            self._see_revision(name)
            self._end_shadow_when_due(question)
        self._tell_changes()

    def _tell_changes(self) -> None:
        now = self.answered
        if now != self._told:
            self._told = now
            if self.when_changed is not None:
                self.when_changed()

    def _see_revision(self, name: str) -> None:
        revision = self._collection.revision(name)
        with self._lock:
            asked = self._asked.setdefault(name, _Asked())
            if asked.revision == revision:
                return
            first, asked.revision = asked.revision < 0, revision
        known = self._switch.versions(name).all()
        if first and known and known[-1].reason == "not decided yet":
            self._decide(self._question(name), known[-1].number)
        with self._lock:
            fits = (
                known
                and known[-1].revision == revision
                and known[-1].source_sha256 == (self._looking.facts()[0].source.sha256)
            )
            if not fits and (revision or not first):
                asked.want()

    def _begin(self, name: str, *, again: bool = False) -> None:
        """Begin a fit, unless the newest version was made of the same."""
        asked = self._asked[name]
        with self._lock:
            asked.wanted_since, asked.text, asked.failed = None, "", False
        try:
            question = self._question(name)
            found = gather(self._collection, question, self._looking, self._options.memory_bytes)
            asked.revision = found.revision
            if found.job is None:
                asked.text = found.lacking
                return
            known = self._switch.versions(name).all()
            if known and known[-1].data_sha256 == found.data_sha256 and not again:
                return
            folder = self._folder / name
            process = self._begin_fit(found.job, folder, self._options.most_s)
        except SnowError as error:
            asked.text, asked.failed = str(error), True
            _LOGGER.warning("%s is not fitted: %s", name, error)
            return
        with self._lock:
            self._fitting = Fitting(question, found, found.job, process)

    def _attend(self, fitting: Fitting) -> None:
        """Take what a fit has ready; its learning curve comes after its readout."""
        name = fitting.question.name
        if name not in self._asked:  # the question is gone
            self._finish(fitting)
            return
        running = fitting.process.running
        done = fitting.process.done
        if done is not None and not fitting.taken:
            self._take(fitting, done)
            fitting.taken = True
        if running:
            if fitting.taken and self._asked[name].is_due(self._options):
                self._finish(fitting)  # its learning curve is out of date already
            return
        try:
            report = fitting.process.folder / files.REPORT
            if fitting.number is not None and report.exists():
                self._switch.versions(name).add_report(fitting.number, report)
            elif not fitting.taken:
                self._fail(name, fitting.process.trouble())
        finally:
            self._finish(fitting)

    def _take(self, fitting: Fitting, done: dict[str, Any]) -> None:
        name = fitting.question.name
        try:
            version = keep_fit(self._switch.versions(name), fitting, done)
            fitting.number = version.number
            self._decide(fitting.question, version.number, fitting.gathered)
        except SnowError as error:
            self._fail(name, str(error))

    def _fail(self, name: str, text: str) -> None:
        with self._lock:
            asked = self._asked.get(name)
            if asked is not None:
                asked.text, asked.failed = text, True
        _LOGGER.warning("%s is not fitted: %s", name, text)

    def _finish(self, fitting: Fitting) -> None:
        with self._lock:
            self._fitting = None
        fitting.process.close()

    def _decide(
        self, question: CollectionQuestion, number: int, gathered: Gathered | None = None
    ) -> None:
        """Let the gate decide about a version."""
        versions = self._switch.versions(question.name)
        if gathered is None:
            gathered = gather(self._collection, question, self._looking)
        new = versions.readout(number), versions.evidence(number)
        live = versions.state().live
        old = None
        if live is not None and live != number and self._still_fits(versions.readout(live)):
            old = versions.readout(live), versions.evidence(live)
        judged = judged_by(gathered, new[1])
        decision = decide(old, new, judged)
        if not decision.goes_live:
            self._switch.hold_back(question.name, number, decision.reason)
            _LOGGER.info("Version %d of %s is held back.", number, question.name)
            return
        try:
            self._switch.go_live(question.name, number, decision.reason)
        except SnowError as error:
            self._switch.hold_back(question.name, number, str(error))
            raise

    def _still_fits(self, readout: ReadoutFile) -> bool:
        """Tell whether a readout reads the source at work; another one's cannot be compared."""
        return readout.facts.source.sha256 == self._looking.facts()[0].source.sha256

    def _end_shadow_when_due(self, question: CollectionQuestion) -> None:
        shadow = self._switch.keep_counts(question.name)
        if shadow is not None and time.time() >= shadow.until:
            self._decide(question, shadow.number)
