"""Which version of each question answers: on the disk, and on the model at work.

The model gets a readout first, between two calls, and the state's file then says so. A process that
is killed between the two comes back with the old one.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from snow_runtime.errors import ReadoutError, SnowError
from snow_runtime.refit.shadow import Shadows
from snow_runtime.refit.versions import Shadow, Versions

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.collection.records import CollectionQuestion
    from snow_runtime.readout.file import ReadoutFile
    from snow_runtime.refit.versions import Version, VersionsState
    from snow_runtime.swap import SwappableModel

_LOGGER = logging.getLogger(__name__)


class Switch:
    """Lets versions answer.

    Args:
        model: The model at work.
        folder: Folder of all versions.

    Attributes:
        shadows: The versions in the shadow.
    """

    def __init__(self, model: SwappableModel, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._lock = threading.RLock()
        self._placed: dict[str, tuple[int, ReadoutFile]] = {}
        self._beside: dict[str, tuple[int, float]] = {}
        self._refused: dict[str, str] = {}
        self._troubles: dict[str, str] = {}
        self.shadows = Shadows()

    def versions(self, question: str) -> Versions:
        """Give a question's versions."""
        return Versions(self._folder / question)

    @property
    def live(self) -> tuple[ReadoutFile, ...]:
        """The readouts that answer."""
        with self._lock:
            return tuple(readout for _, readout in self._placed.values())

    @property
    def numbers(self) -> dict[str, int]:
        """Numbers of the versions that answer, by question."""
        with self._lock:
            return {name: number for name, (number, _) in self._placed.items()}

    def trouble(self, question: str) -> str:
        """Say why a question's live version does not answer; "" where it does."""
        with self._lock:
            return self._refused.get(question, "")

    def follow(self, question: CollectionQuestion) -> None:
        """Let that version answer which the state's file names, and another one beside it."""
        with self._lock:
            state = self.versions(question.name).state()
            placed = self._placed.get(question.name)
            if state.live is not None and (placed is None or placed[0] != state.live):
                self._place(question.name, state.live)
            elif placed is not None and not self.versions(question.name).folder.is_dir():
                self.forget(question.name)  # deleted, and asked anew under the same name
            self._follow_shadow(question, state)

    def after_swap(self) -> None:
        """Take note of what a model that was exchanged has, and say what it could not take."""
        with self._lock:
            there = set(self._model.readouts)
            gone = [name for name, (_, each) in self._placed.items() if each not in there]
            for name in gone:
                self._placed.pop(name)
            for name in list(self._beside):  # whether it fits is seen anew
                try:
                    self.keep_counts(name)
                except ReadoutError as error:
                    _LOGGER.warning("%s", error)
                self._end_shadow(name)

    def go_live(self, question: str, number: int, reason: str) -> Version:
        """Let a version answer.

        Raises:
            ReadoutError: There is none of this number, it does not fit the model, or it cannot be
                noted. The old one goes on.
        """
        with self._lock:
            versions = self.versions(question)
            with versions.changing():
                before = versions.state()
                old = self._placed.get(question)
                self._add(question, number)
                state = before.with_live(number, reason)
                try:
                    versions.put_state(state)
                except ReadoutError:
                    self._take_back(question, old)
                    raise
            if state.shadow is None:
                self._end_shadow(question)
            return versions.one(number)

    def hold_back(self, question: str, number: int, reason: str) -> None:
        """Note why a version does not answer; it ends its time in the shadow.

        Raises:
            ReadoutError: It cannot be noted.
        """
        with self._lock:
            versions = self.versions(question)
            with versions.changing():
                state = versions.state().noted(number, "candidate", reason)
                if state.shadow is not None and state.shadow.number == number:
                    state = replace(state, shadow=None)
                versions.put_state(state)
            if state.shadow is None:
                self._end_shadow(question)

    def begin_shadow(self, question: CollectionQuestion, number: int, seconds: float) -> Version:
        """Let a version answer beside the live one, unheard.

        Raises:
            ReadoutError: There is none of this number, it is the live one, none is live, or it
                does not fit the model.
        """
        with self._lock:
            versions = self.versions(question.name)
            with versions.changing():
                state = versions.state()
                if state.live is None or state.live == number:
                    what = "is the live one itself" if state.live else "has no live one beside it"
                    msg = (
                        f"Version {number} of {question.name} {what}, expected a version beside "
                        "the live one. Choose another, or let it answer."
                    )
                    raise ReadoutError(msg)
                self._model.check_readout(versions.readout(number))
                now = time.time()
                shadow = Shadow(number, now, now + seconds)
                why = f"in the shadow for {seconds:.0f} s"
                versions.put_state(replace(state, shadow=shadow).noted(number, "shadow", why))
            self._follow_shadow(question, versions.state())
            return versions.one(number)

    def keep_counts(self, question: str) -> Shadow | None:
        """Write down what the shadow has said so far; return it as it stands, if there is one."""
        with self._lock:
            if question not in self._beside:
                return None
            versions = self.versions(question)
            with versions.changing():
                state = versions.state()
                if state.shadow is None or state.shadow.number != self._beside[question][0]:
                    return None
                agreed, differed = self.shadows.counts(question)
                found = replace(state.shadow, agreed=agreed, differed=differed)
                if found != state.shadow:
                    versions.put_state(replace(state, shadow=found))
                return found

    def forget(self, question: str) -> None:
        """Let none answer a question that is no more."""
        with self._lock:
            self._end_shadow(question)
            self._refused.pop(question, None)
            if self._placed.pop(question, None) is not None:
                try:
                    self._model.remove_readout(question)
                except SnowError as error:
                    _LOGGER.warning("%s", error)

    @property
    def known(self) -> tuple[str, ...]:
        """Names of the questions that are answered or were refused."""
        with self._lock:
            return (*self._placed, *(name for name in self._refused if name not in self._placed))

    def _place(self, question: str, number: int) -> None:
        try:
            self._add(question, number)
        except SnowError as error:
            if self._refused.get(question) != str(error):
                _LOGGER.warning("Version %d of %s does not answer: %s", number, question, error)
            self._refused[question] = str(error)

    def _add(self, question: str, number: int) -> None:
        readout = self.versions(question).readout(number)
        self._model.add_readout(readout, replace=question in self._placed)
        self._placed[question] = number, readout
        self._refused.pop(question, None)

    def _take_back(self, question: str, old: tuple[int, ReadoutFile] | None) -> None:
        if old is None:
            self._placed.pop(question, None)
            self._model.remove_readout(question)
        else:
            self._model.add_readout(old[1], replace=True)
            self._placed[question] = old

    def _follow_shadow(self, question: CollectionQuestion, state: VersionsState) -> None:
        shadow = state.shadow
        if shadow is None:
            self._end_shadow(question.name)
            return
        key = shadow.number, shadow.began_at
        if self._beside.get(question.name) == key:
            return
        try:
            readout = self.versions(question.name).readout(shadow.number)
            self._model.check_readout(readout)
        except SnowError as error:
            if self._troubles.get(question.name) != str(error):
                _LOGGER.warning("Version %d is not in the shadow: %s", shadow.number, error)
            self._troubles[question.name] = str(error)
            return
        self._troubles.pop(question.name, None)
        self._beside[question.name] = key
        self.shadows.begin(question, readout, shadow.agreed, shadow.differed)

    def _end_shadow(self, question: str) -> None:
        self._beside.pop(question, None)
        self.shadows.end(question)
