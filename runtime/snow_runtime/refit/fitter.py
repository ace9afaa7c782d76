"""One fit at a time: begun, attended to, kept as a version, and put through the gate."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from snow_runtime.errors import ReadoutError, SnowError
from snow_runtime.refit import job as files
from snow_runtime.refit.fitting import Fitting, keep_fit
from snow_runtime.refit.gate import decide, judged_by
from snow_runtime.refit.gathering import gather_fit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectionQuestion
    from snow_runtime.refit.gathering import Gathered, Looking
    from snow_runtime.refit.job import FitJob
    from snow_runtime.refit.options import RefitOptions
    from snow_runtime.refit.process import FitProcess
    from snow_runtime.refit.switch import Switch
    from snow_runtime.refit.versions import Versions
    from snow_runtime.refit.wanted import Wanted

    Begin = Callable[[FitJob, Path, float], FitProcess]

_LOGGER = logging.getLogger(__name__)


class Fitter:
    """Fits questions of a collection, one after another; one thread uses it.

    Args:
        collection: The collection.
        switch: What lets versions answer.
        looking: What gives features that are missing.
        options: How they are fitted.
        begin: Function that begins a fit.

    Attributes:
        current: The fit under way; None where there is none.
    """

    def __init__(
        self,
        collection: Collection,
        switch: Switch,
        looking: Looking,
        options: RefitOptions,
        begin: Begin,
    ) -> None:
        self._collection = collection
        self._switch = switch
        self._looking = looking
        self._options = options
        self._begin = begin
        self.current: Fitting | None = None

    @property
    def source_sha256(self) -> str:
        """SHA-256 of the source at work."""
        return self._looking.facts()[0].source.sha256

    def begin(self, question: CollectionQuestion, wanted: Wanted, *, again: bool = False) -> None:
        """Begin a fit, unless labels are lacking.

        Args:
            question: The question.
            wanted: What is known of it; it is told what became of this.
            again: Whether to fit what the newest version was made of once more.
        """
        wanted.wanted_since, wanted.text, wanted.failed = None, "", False
        versions = self._switch.versions(question.name)
        try:
            memory = self._options.memory_bytes
            found = gather_fit(self._collection, question, self._looking, memory)
            if found.job is not None and found.job.manifest.source.sha256 != self.source_sha256:
                wanted.want()  # the model was exchanged meanwhile
                return
            wanted.revision = found.revision
            if found.job is None:
                wanted.text = found.lacking
                return
            known = versions.all()
            if known and known[-1].data_sha256 == found.data_sha256 and not again:
                return
            process = self._begin(found.job, versions.folder, self._options.most_s)
        except SnowError as error:
            self._fail(question.name, wanted, str(error))
            return
        self.current = Fitting(question, found, found.job, process)

    def attend(self, wanted: Wanted | None, *, others_wait: bool = False) -> None:
        """Take what a fit has ready; its learning curve comes after its readout.

        Args:
            wanted: What is known of its question; None where that is no more.
            others_wait: Whether another question has been waiting for long.
        """
        fitting = self.current
        if fitting is None:
            return
        if wanted is None:
            self.close()
            return
        running = fitting.process.running
        done = fitting.process.done
        if done is not None and not fitting.taken:
            try:
                self._take(fitting, done, wanted)
            finally:  # whatever comes of it: not again
                fitting.taken = True
        if running:
            if fitting.taken and (others_wait or wanted.is_due(self._options)):
                self.close()  # its learning curve is out of date already, or holds others up
            return
        try:
            report = fitting.process.folder / files.REPORT
            name = fitting.question.name
            if fitting.number is not None and report.exists():
                self._switch.versions(name).add_report(fitting.number, report)
            elif not fitting.taken:
                self._fail(name, wanted, fitting.process.trouble())
        finally:
            self.close()

    def close(self) -> None:
        """End the fit under way, if there is one."""
        fitting, self.current = self.current, None
        if fitting is not None:
            fitting.process.close()

    def decide(
        self, question: CollectionQuestion, number: int, gathered: Gathered | None = None
    ) -> None:
        """Let the gate decide about a version.

        Args:
            question: The question.
            number: Number of the version.
            gathered: The labelled pictures; None gathers them.

        Raises:
            SnowError: A file cannot be read or written, or the version does not fit the model.
        """
        versions = self._switch.versions(question.name)
        if gathered is None:
            gathered = gather_fit(self._collection, question, self._looking)
        new = versions.readout(number), versions.evidence(number)
        live = versions.state().live
        old = None
        try:
            if live is not None and live != number and self._answers(versions, live):
                old = versions.readout(live), versions.evidence(live)
        except ReadoutError as error:
            why = f"it cannot be compared with the live one: {error} Or let it answer by hand."
            self._switch.hold_back(question.name, number, why)
            return
        decision = decide(old, new, judged_by(gathered, new[1]))
        if not decision.goes_live:
            self._switch.hold_back(question.name, number, decision.reason)
            return
        try:
            self._switch.go_live(question.name, number, decision.reason)
        except SnowError as error:
            self._switch.hold_back(question.name, number, str(error))
            raise

    def _take(self, fitting: Fitting, done: dict[str, Any], wanted: Wanted) -> None:
        name = fitting.question.name
        try:
            version = keep_fit(self._switch.versions(name), fitting, done)
            fitting.number = version.number
            self.decide(fitting.question, version.number, fitting.gathered)
        except SnowError as error:
            self._fail(name, wanted, str(error))

    def _fail(self, name: str, wanted: Wanted, text: str) -> None:
        wanted.text, wanted.failed = text, True
        _LOGGER.warning("%s is not fitted: %s", name, text)

    def _answers(self, versions: Versions, number: int) -> bool:
        """Tell whether a version can answer: it is whole, and reads the source at work."""
        try:
            readout = versions.readout(number)
        except ReadoutError as error:
            _LOGGER.warning("%s", error)
            return False
        return readout.facts.source.sha256 == self.source_sha256
